import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { AssignmentCache } from '../../../src/agent/identity/provisioning/assignment.ts';
import { StateFolder } from '../../../src/agent/state/state-folder.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { capturedLog, temporaryDirectory } from '../hub/support.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';

const REGISTRATION = { idScope: '0ne00000001', registrationId: 'gateway7' };
const ASSIGNMENT = { hub: 'hub1.azure-devices.net', deviceId: 'device7' };
const KEPT = JSON.stringify({ ...REGISTRATION, ...ASSIGNMENT });

describe('AssignmentCache', () => {
  let directory: ReturnType<typeof temporaryDirectory>;
  let file: string;
  let log: ReturnType<typeof capturedLog>;

  beforeEach(() => {
    directory = temporaryDirectory();
    file = join(directory.path, 'assignment.json');
    log = capturedLog();
  });
  afterEach(() => directory.remove());

  const cache = (registration = REGISTRATION) =>
    new AssignmentCache(new StateFolder(directory.path, immediateStateFiles), registration, log.log);
  const lines = () => log.messages().map(({ level, msg }) => `${level} ${msg}`);

  it('returns nothing at first, without a log line', () => {
    assert.equal(cache().read(), undefined);
    assert.deepEqual(lines(), []);
  });

  it('keeps the assignment for the next start, in a file of its own user', () => {
    cache().write(ASSIGNMENT);
    assert.deepEqual(cache().read(), ASSIGNMENT);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { ...REGISTRATION, ...ASSIGNMENT });
    assert.deepEqual(lines(), []);
  });

  it('accepts another spelling of the registration id, which has no case', () => {
    writeFileSync(file, KEPT);
    assert.deepEqual(cache({ ...REGISTRATION, registrationId: 'GATEWAY7' }).read(), ASSIGNMENT);
    writeFileSync(file, KEPT.replace('gateway7', 'Gateway7'));
    assert.deepEqual(cache().read(), ASSIGNMENT);
  });

  for (const [what, registration] of [
    ['another registration', { ...REGISTRATION, registrationId: 'gateway8' }],
    ['another service', { ...REGISTRATION, idScope: '0ne00000002' }],
  ] as const) {
    it(`ignores the assignment of ${what}, with a line in the log`, () => {
      writeFileSync(file, KEPT);
      assert.equal(cache(registration).read(), undefined);
      assert.deepEqual(lines(), ['info The saved hub assignment belongs to another registration; registering again.']);
    });
  }

  const damaged: [what: string, make: (file: string) => void][] = [
    ['torn', (path) => writeFileSync(path, KEPT.slice(0, 30))],
    ['empty', (path) => writeFileSync(path, '')],
    ['too large', (path) => writeFileSync(path, KEPT + ' '.repeat(70_000))],
    ['another JSON', (path) => writeFileSync(path, '[]')],
    ['a hub that is none', (path) => writeFileSync(path, KEPT.replace('hub1.', 'http://'))],
    ['a device id that is none', (path) => writeFileSync(path, KEPT.replace('device7', 'a/b'))],
    ['a folder', (path) => mkdirSync(path)],
    ['a link', (path) => {
      writeFileSync(`${path}.target`, KEPT);
      symlinkSync(`${path}.target`, path);
    }],
    ['a file with two names', (path) => {
      writeFileSync(`${path}.target`, KEPT);
      linkSync(`${path}.target`, path);
    }],
  ]; // biome-ignore format: one a line
  for (const [what, make] of damaged) {
    it(`ignores what is damaged or not its own (${what}), with a line in the log that does not quote it`, () => {
      make(file);
      assert.equal(cache().read(), undefined);
      assert.deepEqual(lines(), ['warn Could not read the saved hub assignment; registering again.']);
      assert.doesNotMatch(log.text(), /device7|azure-devices/);
    });
  }

  it('returns a valid assignment or none for random contents of the file', () => {
    const valid = cache();
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.nat().map((at) => KEPT.slice(0, at % KEPT.length)),
        ),
        (text) => {
          writeFileSync(file, text);
          const read = valid.read();
          assert.ok(read === undefined || (/^[^/\s]+$/.test(read.hub) && /^[^/\s]+$/.test(read.deviceId)));
        },
      ),
      { numRuns: fuzzRuns(3_000) },
    );
  });
});

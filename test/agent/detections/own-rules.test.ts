import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { builtInRules } from '../../../src/agent/detections/built-in.ts';
import { CompiledFiles } from '../../../src/agent/detections/compiled-files.ts';
import type { RuleSet } from '../../../src/agent/detections/detections.ts';
import { readAddresses, readOwnRules } from '../../../src/agent/detections/own-rules.ts';
import { RuleLoader } from '../../../src/agent/detections/rule-loader.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';

const rule = (title: string) => `title: ${title}
level: high
logsource: { product: linux, category: process_creation }
detection: { s: { 'Image|endswith': /${title} }, condition: s }
`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe("the operator's own rules", () => {
  let folder: string;

  before(function () {
    if (process.getuid?.() !== 0) skip(this, "only root's files are loaded, and only root can make them");
  });
  beforeEach(() => {
    folder = join(temporaryFolder(), 'rules.d');
    mkdirSync(folder, { mode: 0o755 });
  });

  const write = (name: string, text: string, mode = 0o644) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const read = async (wanted?: string) => {
    const { documents, faults, sha256: hash } = await readOwnRules(folder, wanted);
    return {
      titles: documents.map(({ value }) => (value as { title: string }).title),
      faults: faults.map(({ file, reason }) => `${file.replace(`${folder}/`, '')}: ${reason}`),
      hash,
    };
  };

  it('reads files in the order of their names, with the digest of `cat *.yml | sha256sum`', async () => {
    write('b.yml', rule('second'));
    write('a.yml', rule('first'));
    write('notes.txt', 'no rule');
    write('.hidden.yml', 'no rule');
    const hash = sha256(rule('first') + rule('second'));
    assert.deepEqual(await read(), { titles: ['first', 'second'], faults: [], hash });
    assert.deepEqual(await read(hash), { titles: ['first', 'second'], faults: [], hash });
  });

  it('ignores subdirectories and files with other names', async () => {
    write('a.yml', rule('first'));
    write('b.yaml', rule('second'));
    mkdirSync(join(folder, 'c'));
    write('c/d.yml', rule('third'));
    assert.deepEqual(await read(), {
      titles: ['first'],
      faults: ['b.yaml: its name does not end in .yml', 'c/: it is a folder: only rules beside it are read'],
      hash: sha256(rule('first')),
    });
  });

  it('accepts a missing directory', async () => {
    assert.deepEqual(await read(), { titles: [], faults: [], hash: undefined });
    rmSync(folder, { recursive: true });
    assert.deepEqual(await read(), { titles: [], faults: [], hash: undefined });
  });

  it('loads no rule if the module twin specifies another digest', async () => {
    write('a.yml', rule('first'));
    const hash = sha256(rule('first'));
    const { titles, faults } = await read('ab'.repeat(32));
    assert.deepEqual(titles, []);
    assert.deepEqual(faults, [`${folder}: its SHA-256 is ${hash}, not ${'ab'.repeat(32)} as the module twin says`]);
  });

  for (const [what, spoil, reason] of [
    [
      'that others can write to',
      (path: string) => chmodSync(path, 0o646),
      /others than root can write to it: chmod go-w/,
    ],
    ['of another owner', (path: string) => chownSync(path, 1_000, 0), /it does not belong to root: chown root/],
    [
      'that is a link',
      (path: string) => {
        rmSync(path);
        symlinkSync('/etc/passwd', path);
      },
      /it is not a file/,
    ],
    ['that is too large', (path: string) => writeFileSync(path, '#'.repeat(300_000)), /larger than/],
    ['that is no YAML', (path: string) => writeFileSync(path, 'title: ['), /./],
    [
      'that has a key very often',
      (path: string) => writeFileSync(path, `{${'k,'.repeat(131_000)}}`),
      /more than 30000 values/,
    ],
    [
      'that is nested very deeply',
      (path: string) => writeFileSync(path, `more:\n  ${'- '.repeat(10_000)}x\n`),
      /more than 100 nested values/,
    ],
  ] as const) {
    it(`rejects a file ${what}, and loads the others`, async () => {
      write('good.yml', rule('good'));
      spoil(write('bad.yml', rule('bad')));
      const { titles, faults } = await read();
      assert.deepEqual(titles, ['good']);
      assert.ok(faults.length >= 1);
      for (const fault of faults) assert.match(fault, /^bad\.yml: /);
      assert.match(faults.join('; '), reason);
    });
  }

  it('rejects the whole directory if other users can write to it', async () => {
    write('a.yml', rule('first'));
    chmodSync(folder, 0o777);
    assert.deepEqual(await read(), {
      titles: [],
      faults: [`${folder}: others than root can write to it: chmod go-w`],
      hash: undefined,
    });
  });

  it('accepts or rejects the address list as a whole', () => {
    const good = write('good', '192.0.2.7 # one\n\n# a network\n2001:db8::/32\n');
    assert.deepEqual(readAddresses(good), { addresses: ['192.0.2.7', '2001:db8::/32'] });
    const bad = write('bad', '192.0.2.7\nexample.org\n');
    assert.deepEqual(readAddresses(bad), {
      addresses: [],
      fault: { file: bad, reason: 'entry 2 is not an address or a network' },
    });
    assert.match(readAddresses(join(folder, 'none')).fault?.reason ?? '', /ENOENT/);
  });

  it('loads rules at the start, and within a minute after a change; errors are logged once', async () => {
    const time = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const loaded: RuleSet[] = [];
    const logged: LogLine[] = [];
    let wanted = '';
    const addresses = write('addresses', '192.0.2.7\n');
    const loader = new RuleLoader({
      folder,
      addressFile: addresses,
      wantedHash: () => wanted,
      load: (rules) => loaded.push(rules),
      addressesChanged: () => {},
      clock: { ...systemClock, within: (_limit, _what, work) => work }, // timers are ahead of the listing here
      log: quietLog(logged),
    });
    const own = () =>
      loaded
        .at(-1)
        ?.rules.filter(({ facts }) => facts.origin === 'local')
        .map(({ facts }) => facts.title);
    const aMinute = async (look: number) => {
      await time.tickAsync(minutes(1));
      while (loaded.length < look) await nextTurn();
    };
    try {
      write('a.yml', rule('first'));
      await loader.start();
      assert.deepEqual([own(), loader.badAddresses], [['first'], ['192.0.2.7']]);
      assert.ok((loaded[0]?.rules.length ?? 0) > 50, 'the shipped rules are gone');

      write('b.yml', 'title: [');
      await aMinute(2);
      assert.deepEqual(own(), ['first']);
      assert.equal(logged.length, 1);
      await time.tickAsync(minutes(3));
      assert.equal(loaded.length, 2);

      rmSync(join(folder, 'b.yml'));
      wanted = 'ab'.repeat(32);
      loader.refresh();
      await aMinute(3);
      // A look may have been under way already, which loads the rules without the removed file first.
      for (let look = 4; own()?.length !== 0; look += 1) await aMinute(look);
      assert.match(logged.at(-1)?.message ?? '', /Rejected a detection rule file/);
    } finally {
      const stopped = loader.stop();
      await time.tickAsync(0);
      await stopped;
      time.restore();
    }
  });

  it('keeps the rules active while a user keeps the directory locked, and logs it once', async () => {
    const loaded: RuleSet[] = [];
    const logged: LogLine[] = [];
    let answer: (names: readonly string[]) => void = () => {};
    let listings = 0;
    let abandoned = 0;
    let wanted = '';
    let isPatient = false;
    const addresses = join(temporaryFolder(), 'addresses');
    writeFileSync(addresses, '192.0.2.7\n');
    const loader = new RuleLoader({
      folder,
      addressFile: addresses,
      wantedHash: () => wanted,
      abandoned: () => {
        abandoned += 1;
      },
      load: (rules) => loaded.push(rules),
      addressesChanged: () => {},
      // No locked listing ends in time.
      clock: {
        ...systemClock,
        within: async (_limit, what, work) => (isLocked && !isPatient ? Promise.reject(new Error(what)) : work),
      },
      log: quietLog(logged),
      list: (path) => {
        listings += 1;
        return isLocked
          ? new Promise((resolve) => {
              answer = resolve;
            })
          : Promise.resolve(readdirSync(path).sort()); // immediate, so that no check is in progress when the test continues
      },
    });
    const own = () => loaded.at(-1)?.rules.filter(({ facts }) => facts.origin === 'local').length;
    const look = async (loads: number) => {
      loader.refresh();
      for (let turn = 0; turn < 20 || loaded.length < loads; turn += 1) await nextTurn();
    };
    let isLocked = false;
    write('a.yml', rule('first'));
    await loader.start();
    await look(1);
    assert.deepEqual([own(), listings], [1, 2]);
    await look(1);
    assert.equal(listings, 2); // nothing has changed

    isLocked = true;
    write('b.yml', rule('second'));
    await look(2);
    await look(2);
    assert.deepEqual([own(), listings, loaded.length], [1, 3, 2]);
    assert.match(
      loaded[1]?.faults.map(({ reason }) => reason).join() ?? '',
      /^listing it takes too long: .*chmod 700$/,
    );
    assert.equal(logged.length, 1);

    writeFileSync(addresses, '192.0.2.8\n');
    await look(3);
    assert.deepEqual(loader.badAddresses, ['192.0.2.8']);
    wanted = 'ab'.repeat(32);
    await look(4);
    assert.deepEqual([own(), listings, abandoned], [0, 3, 0]);

    // The listing completes after its time limit. The next check uses it, and then lists once more.
    isLocked = false;
    wanted = '';
    answer(['a.yml', 'b.yml']);
    await look(5);
    assert.deepEqual([own(), loaded.at(-1)?.faults], [2, []]);
    await look(5);
    assert.equal(listings, 4);

    [isLocked, isPatient] = [true, true];
    write('c.yml', rule('third'));
    const lines = logged.length;
    loader.refresh();
    while (listings < 5) await nextTurn();
    await loader.stop();
    assert.deepEqual([abandoned, loaded.length, logged.length], [1, 5, lines]);
  });

  it('keeps the rules active while the directory can’t be listed, and retries at each check', async () => {
    const loaded: RuleSet[] = [];
    let failure: NodeJS.ErrnoException | undefined;
    const loader = new RuleLoader({
      folder,
      wantedHash: () => '',
      load: (rules) => loaded.push(rules),
      addressesChanged: () => {},
      clock: systemClock,
      log: quietLog(),
      list: async (path) => {
        if (failure !== undefined) throw failure;
        return readdirSync(path).sort();
      },
    });
    const own = () => loaded.at(-1)?.rules.filter(({ facts }) => facts.origin === 'local').length;
    const look = async (loads: number) => {
      loader.refresh();
      for (let turn = 0; turn < 20 || loaded.length < loads; turn += 1) await nextTurn();
    };
    write('a.yml', rule('first'));
    await loader.start();
    failure = Object.assign(new Error('EIO: i/o error, scandir'), { code: 'EIO' });
    write('b.yml', rule('second'));
    await look(2);
    await look(2);
    assert.equal(own(), 1);
    assert.deepEqual(loaded.at(-1)?.faults, [{ file: folder, reason: "it can't be read: EIO: i/o error, scandir" }]);
    failure = undefined; // the folder is as it was
    await look(3);
    assert.deepEqual([own(), loaded.at(-1)?.faults], [2, []]);
    failure = Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
    rmSync(join(folder, 'b.yml'));
    await look(4);
    assert.equal(own(), 0);
    await loader.stop();
  });

  it('reads the rules again after an internal error, even without changes', async () => {
    const loaded: RuleSet[] = [];
    const logged: LogLine[] = [];
    const compiled = new CompiledFiles({
      path: join(temporaryFolder(), 'detection-rules.json'),
      files: immediateStateFiles,
      log: quietLog(),
    });
    const loader = new RuleLoader({
      folder,
      wantedHash: () => '',
      load: (rules) => loaded.push(rules),
      addressesChanged: () => {},
      compiled,
      clock: systemClock,
      log: quietLog(logged),
    });
    await loader.start();
    write('a.yml', rule('first'));
    sinon.stub(compiled, 'read').onFirstCall().throws(new Error('a defect')).callThrough();
    while (loaded.length < 2) {
      loader.refresh();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await loader.stop();
    assert.equal(loaded[1]?.rules.filter(({ facts }) => facts.origin === 'local').length, 1);
    assert.match(logged[0]?.message ?? '', /Internal error/);
  });

  it('uses the shipped rules that were read at the start, the first time only', async () => {
    const shipped = builtInRules();
    const loaded: RuleSet[] = [];
    let wanted = '';
    const loader = new RuleLoader({
      folder,
      wantedHash: () => wanted,
      load: (rules) => loaded.push(rules),
      addressesChanged: () => {},
      shipped,
      clock: systemClock,
      log: quietLog(),
    });
    await loader.start();
    wanted = 'ab'.repeat(32);
    loader.refresh();
    while (loaded.length < 2) await nextTurn();
    await loader.stop();
    assert.equal(loaded[0]?.rules, shipped.rules);
    assert.notEqual(loaded[1]?.rules, shipped.rules);
    assert.equal(loaded[1]?.rules.length, shipped.rules.length);
  });
});

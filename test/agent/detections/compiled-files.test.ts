import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CompiledFiles } from '../../../src/agent/detections/compiled-files.ts';
import type { RuleSet } from '../../../src/agent/detections/detections.ts';
import { Detector } from '../../../src/agent/detections/detector.ts';
import { readOwnRules } from '../../../src/agent/detections/own-rules.ts';
import { RuleLoader } from '../../../src/agent/detections/rule-loader.ts';
import { readRuleSet } from '../../../src/agent/detections/sigma/rule-set.ts';
import type { Subject } from '../../../src/agent/detections/subject.ts';
import { subjectOf } from '../../../src/agent/detections/subjects.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { sampled } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { SetClock } from './rules.ts';

const SHIPPED = fileURLToPath(new URL('../../../../config/detections', import.meta.url));
const CASES = fileURLToPath(new URL('../../../../test/agent/detections/cases', import.meta.url));

const rule = (title: string, more = '') => `title: ${title}
level: high
logsource: { product: linux, category: process_creation }
detection: { s: { 'CommandLine|re': '^${title}( -[a-z]+)* (x|y)$' }, condition: s }
${more}`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe("the compiled form of the operator's rules", () => {
  let folder: string;
  let path: string;
  let logged: LogLine[];
  let compiled: CompiledFiles;

  before(function () {
    if (process.getuid?.() !== 0) skip(this, "only root's files are loaded, and only root can make them");
  });
  beforeEach(() => {
    const all = temporaryFolder();
    folder = join(all, 'rules.d');
    mkdirSync(folder, { mode: 0o755 });
    path = join(all, 'detection-rules.json');
    logged = [];
    compiled = new CompiledFiles({ path, files: immediateStateFiles, log: quietLog(logged) });
  });

  const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o644 });
  /** As a start of the agent does. */
  const load = async (): Promise<RuleSet> => {
    let loaded: RuleSet = { rules: [], faults: [], sha256: '' };
    const loader = new RuleLoader({
      folder,
      wantedHash: () => '',
      load: (rules) => {
        loaded = rules;
      },
      addressesChanged: () => {},
      compiled,
      clock: systemClock,
      log: quietLog([]),
    });
    await loader.start();
    await loader.stop();
    return loaded;
  };
  const own = ({ rules }: RuleSet) => rules.filter(({ facts }) => facts.origin === 'local');
  const titles = (rules: RuleSet) => own(rules).map(({ facts }) => facts.title);
  const whatWasCompiled = async () =>
    (await readOwnRules(folder, '', compiled.read())).files?.map(({ wasCompiled }) => wasCompiled);

  it('is created at the first start, after which no start parses a file', async () => {
    write('a.yml', rule('first'));
    write('b.yml', rule('second'));
    assert.deepEqual(await whatWasCompiled(), [false, false]);
    const first = await load();
    assert.deepEqual(await whatWasCompiled(), [true, true]);
    const made = readFileSync(path, 'utf8');
    const second = await load();
    assert.deepEqual(titles(second), ['first', 'second']);
    assert.deepEqual(
      own(second).map(({ facts }) => facts),
      own(first).map(({ facts }) => facts),
    );
    assert.equal(second.ownSha256, first.ownSha256);
    assert.equal(readFileSync(path, 'utf8'), made);
    assert.deepEqual(logged, []);
  });

  it('follows the files: parses changed ones, and drops removed ones', async () => {
    write('a.yml', rule('first'));
    write('b.yml', rule('second'));
    await load();
    write('b.yml', rule('third'));
    assert.deepEqual(await whatWasCompiled(), [true, false]);
    assert.deepEqual(titles(await load()), ['first', 'third']);
    assert.equal(readFileSync(path, 'utf8').includes('second'), false);
    rmSync(join(folder, 'a.yml'));
    rmSync(join(folder, 'b.yml'));
    assert.deepEqual(titles(await load()), []);
    assert.equal(existsSync(path), false);
  });

  it('is removed with the rule directory', async () => {
    write('a.yml', rule('first'));
    await load();
    rmSync(folder, { recursive: true });
    await load();
    assert.equal(existsSync(path), false);
  });

  it('reports the line of an error that another file causes, and contains only files without errors', async () => {
    write('a.yml', rule('first', 'id: one\n'));
    await load();
    write('0.yml', rule('zeroth', 'id: one\n'));
    const { faults } = await load();
    assert.deepEqual(
      faults.map(({ file, line }) => [file, line]),
      [[join(folder, 'a.yml'), 5]],
    );
    assert.deepEqual(await whatWasCompiled(), [true, false]);
  });

  it('gives the same answers as the YAML in all cases', async function () {
    this.timeout(120_000);
    const subjects: Subject[] = [];
    for (const name of readdirSync(CASES).filter((each) => each.endsWith('.jsonl'))) {
      for (const line of readFileSync(join(CASES, name), 'utf8')
        .split('\n')
        .filter((each) => each !== '')) {
        const { events = [] } = JSON.parse(line) as { events?: (Payload & { event?: string })[] };
        for (const { event = 'ProcessCreate', ...payload } of events) {
          const happened = subjectOf({ name: event, payload, time: 0 });
          if (happened !== undefined) subjects.push(happened);
        }
      }
    }
    assert.ok(subjects.length > 500, `${subjects.length}`);
    for (const name of readdirSync(SHIPPED).filter((each) => each.endsWith('.yml')))
      write(name, readFileSync(join(SHIPPED, name), 'utf8'));
    const parsed = await readOwnRules(folder);
    const made = readRuleSet(parsed.documents);
    assert.deepEqual(made.faults, []);
    compiled.keep(parsed.files ?? [], made.rules, compiled.read());
    const again = await readOwnRules(folder, '', compiled.read());
    assert.ok(again.files?.every(({ wasCompiled }) => wasCompiled));
    const [one, other] = [made.rules, readRuleSet(again.documents).rules].map(
      // The clock is frozen, so no rule is disabled for being slow.
      (rules) => new Detector({ rules, clock: new SetClock() }),
    );
    let hits = 0;
    const tried = sampled(subjects);
    for (const happened of tried) {
      const [a, b] = [one, other].map((detector) => detector?.evaluate(happened).map((hit) => hit.rule.id));
      assert.deepEqual(a, b);
      hits += a?.length ?? 0;
    }
    assert.ok(hits > tried.length / 10, `${hits} of ${tried.length}`);
  });

  const signed = (text: string) => `${sha256(text)}\n${text}`;
  const changedIn = (text: string, change: (kept: Record<string, unknown>) => unknown) =>
    signed(JSON.stringify(change(JSON.parse(text.slice(65)) as Record<string, unknown>)));
  const SPOILT: readonly (readonly [string, (text: string) => string])[] = [
    ['empty', () => ''],
    ['cut', (text) => text.slice(0, -20)],
    ['without its first line', (text) => text.slice(65)],
    ['with one character changed', (text) => text.replace('first', 'fiRst')],
    ['with a byte that is no text', (text) => `${text}\0`],
    ['of another version', (text) => changedIn(text, (kept) => ({ ...kept, form: 'vakt 0.0.1 1' }))],
    ['no JSON', () => signed('{')],
    ['null', () => signed('null')],
    ['a list', () => signed('[]')],
    ['with a list for files', (text) => changedIn(text, (kept) => ({ ...kept, files: [] }))],
    ['with a text for documents', (text) => changedIn(text, (kept) => ({ ...kept, files: { a: 'b' } }))],
    ['with numbers for literals', (text) => changedIn(text, (kept) => ({ ...kept, literals: { a: [1] } }))],
    ['without literals', (text) => changedIn(text, ({ form, files }) => ({ form, files }))],
    ['deeply nested', () => signed(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)],
    ['too large', (text) => `${text}${' '.repeat(9 * 1024 * 1024)}`],
  ];
  for (const [what, spoil] of SPOILT) {
    it(`is ignored and rebuilt if it is ${what}`, async () => {
      write('a.yml', rule('first'));
      await load();
      const made = readFileSync(path, 'utf8');
      writeFileSync(path, spoil(made));
      assert.deepEqual(await whatWasCompiled(), [false]);
      assert.deepEqual(titles(await load()), ['first']);
      assert.equal(readFileSync(path, 'utf8'), made);
      assert.deepEqual(await whatWasCompiled(), [true]);
    });
  }

  for (const [what, spoil] of [
    ['that others can write to', () => chmodSync(path, 0o666)],
    ['with a second name', () => linkSync(path, `${path}.2`)],
  ] as const) {
    it(`is ignored in a file ${what}`, async () => {
      write('a.yml', rule('first'));
      await load();
      spoil();
      assert.deepEqual(await whatWasCompiled(), [false]);
      assert.deepEqual(titles(await load()), ['first']);
      assert.deepEqual(await whatWasCompiled(), [true]);
    });
  }
});

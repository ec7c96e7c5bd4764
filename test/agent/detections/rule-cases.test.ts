import assert from 'node:assert/strict';
import { exemptsByParent } from '../../../scripts/detection-rules.ts';
import { alertTypeOf } from '../../../src/agent/detections/alerts/policy.ts';
import { builtInDocuments, builtInRules } from '../../../src/agent/detections/built-in.ts';
import { withWholePaths } from '../../../src/agent/detections/views/operands.ts';
import { nameOf } from '../../../src/agent/detections/views/paths.ts';
import { inUsualForm, partsOf } from '../../../src/agent/detections/views/usual-form.ts';
import { type Answer, answersTo } from './case-answers.ts';
import { casesFile, idOf, ruleCases, type UnseenCase } from './unseen-cases.ts';

const CASES = 'test/agent/detections/cases';
/** Minimum number of attacks, and of look-alikes, for each alert. */
const MIN_CASES = 3;

const NOTICED = ['medium', 'high', 'critical'];

const hits = (answers: ReadonlyMap<string, Answer>, one: UnseenCase) => answers.get(idOf(one))?.alerts ?? [];
const byCase = (answers: readonly Answer[]) => new Map(answers.map((each) => [each.case ?? '', each]));

/** The words of a case of one simple command, that of its executable; none of another case. */
function wordsOf({ events: [event, ...others] }: UnseenCase): readonly string[] {
  const line = String(event?.CommandLine);
  const isSimple = others.length === 0 && event?.event === 'ProcessCreate' && !/["'\\|;&<>`$\n]| {2}/.test(line);
  const words = isSimple ? line.split(' ') : [];
  return nameOf(words[0] ?? '') === nameOf(String(event?.Executable)) ? words : [];
}

/** The case of one simple command with its options at the end, if that says the same. */
function withOptionsLast(one: UnseenCase): UnseenCase[] {
  const words = wordsOf(one);
  const { options, operands } = partsOf(words) ?? { options: [], operands: [] };
  if (options.length === 0 || operands.length === 0 || operands.includes('--')) return [];
  return [{ ...one, events: [{ ...one.events[0], CommandLine: [words[0], ...operands, ...options].join(' ') }] }];
}

/** The case of one simple command in the folder of each of its files, which then has no other path. */
function withinFolders(one: UnseenCase): UnseenCase[] {
  const words = wordsOf(one);
  if (one.events[0]?.CurrentDirectory !== undefined) return [];
  return words.flatMap((word, at) => {
    const [, folder, name] = /^((?:\/[\w.-]+)+)\/([\w.-]+)$/.exec(word) ?? [];
    if (at === 0 || folder === undefined || name === undefined) return [];
    const moved = words.with(at, name);
    const isSame = withWholePaths(inUsualForm(moved), folder).join(' ') === inUsualForm(words).join(' ');
    const event = { ...one.events[0], CommandLine: moved.join(' '), CurrentDirectory: folder };
    return isSame ? [{ ...one, name: `${one.name} ${at}`, events: [event] }] : [];
  });
}

describe('the shipped detection rules', () => {
  const cases = ruleCases();
  let answers: ReadonlyMap<string, Answer>;
  before(async () => {
    answers = byCase(await answersTo(casesFile(cases)));
  });

  it('raise the alert of each attack', () => {
    const missed = cases.filter((one) => one.expect && !hits(answers, one).some(({ alert }) => alert === one.alert));
    assert.deepEqual(missed.map(idOf), []);
  });

  it('raise the alert with options after operands', async () => {
    const turned = cases.filter(({ expect }) => expect).flatMap(withOptionsLast);
    assert.ok(turned.length > 150);
    const answersNow = byCase(await answersTo(casesFile(turned)));
    const missed = turned.filter((one) => !hits(answersNow, one).some(({ alert }) => alert === one.alert));
    assert.deepEqual(missed.map(idOf), []);
  });

  it('raise the alert for a file named relative to its directory', async () => {
    const moved = cases.filter(({ expect }) => expect).flatMap(withinFolders);
    assert.ok(moved.length > 400, `${moved.length}`);
    const answersNow = byCase(await answersTo(casesFile(moved)));
    const missed = moved.filter((one) => !hits(answersNow, one).some(({ alert }) => alert === one.alert));
    assert.deepEqual(missed.map(idOf), []);
  });

  it('raise no such alert above low for look-alikes, unless a trusted actor lowered it', () => {
    const wrong = cases.filter(
      (one) =>
        !one.expect &&
        hits(answers, one).some(
          ({ alert, level, during }) => alert === one.alert && NOTICED.includes(level) && during === undefined,
        ),
    );
    assert.deepEqual(wrong.map(idOf), []);
  });

  it('exempt no program by its name alone, which any user can choose', () => {
    const loose: string[] = [];
    for (const { value } of builtInDocuments()) {
      const { title, detection } = value as { title: string; detection?: Record<string, unknown> };
      if (detection === undefined) continue;
      const condition = String(detection.condition);
      const all = [...condition.matchAll(/\b(not )?(\w+)\b/g)];
      const named = new Set(all.filter(([, not]) => not === undefined).map(([, , name]) => name));
      for (const [, not, name = ''] of all) {
        if (not === undefined || named.has(name)) continue;
        const members = [detection[name]].flat().flatMap((map) => Object.keys(Object(map)));
        for (const member of members)
          if (/^Image\|(endswith|contains)$/.test(member)) loose.push(`${title}: ${name}: ${member}`);
      }
    }
    assert.deepEqual(loose, []);
  });

  it("exempt nothing by the parent's path, arguments or name, which a user can choose", () => {
    const exempting = builtInRules().rules.filter(
      (rule) => rule.is === 'detection' && exemptsByParent(rule.expression),
    );
    assert.deepEqual(
      exempting.map(({ facts }) => facts.title),
      [],
    );
  });

  it('each alert has at least three attacks and three look-alikes', () => {
    const raising = builtInRules().rules.filter(({ facts }) => facts.alerts);
    const missing = [...new Set(raising.map(({ facts }) => alertTypeOf(facts)))].flatMap((alert) => {
      const attacks = cases.filter((one) => one.alert === alert && one.expect).length;
      const lookAlikes = cases.filter((one) => one.alert === alert && !one.expect).length;
      if (attacks >= MIN_CASES && lookAlikes >= MIN_CASES) return [];
      return [
        `Add ${Math.max(0, MIN_CASES - attacks)} attacks ("expect": true) and ${Math.max(0, MIN_CASES - lookAlikes)} ` +
          `look-alikes ("expect": false) to ${CASES}/${alert}.jsonl, one per line; ${CASES}/README.md has an example of each.`,
      ];
    });
    assert.equal(missing.join('\n'), '');
  });
});

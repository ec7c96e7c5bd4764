import assert from 'node:assert/strict';
import { type Answer, answersTo } from './case-answers.ts';
import { casesFile, idOf, LIST_BOUND, ruleCases, type UnseenCase, unseenCases } from './unseen-cases.ts';

const NOTICED = ['medium', 'high', 'critical'];

const hits = (answers: ReadonlyMap<string, Answer>, one: UnseenCase) => answers.get(idOf(one))?.alerts ?? [];
const byCase = (answers: readonly Answer[]) => new Map(answers.map((each) => [each.case ?? '', each]));

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

  it('raise no alert of that type above low for what looks like the attack', () => {
    const wrong = cases.filter(
      (one) =>
        !one.expect && hits(answers, one).some(({ alert, level }) => alert === one.alert && NOTICED.includes(level)),
    );
    assert.deepEqual(wrong.map(idOf), []);
  });

  it('have attacks and look-alikes for each alert', () => {
    for (const alert of new Set(cases.map((one) => one.alert))) {
      const of = cases.filter((one) => one.alert === alert);
      assert.ok(of.filter(({ expect }) => expect).length >= 6, `${alert}: attacks`);
      assert.ok(of.filter(({ expect }) => !expect).length >= 6, `${alert}: look-alikes`);
    }
  });

  it('find nearly all attacks of cases that they were not written with, and take no daily work for a grave one', async () => {
    const unseen = unseenCases();
    const found = byCase(await answersTo(casesFile(unseen)));
    const attacks = unseen.filter(({ expect }) => expect);
    const recalled = attacks.filter((one) => hits(found, one).some(({ alert }) => alert === one.alert)).length;
    assert.ok(recalled / attacks.length >= 0.85, `${recalled} of ${attacks.length}`);
    const grave = unseen.filter(
      (one) =>
        !one.expect &&
        hits(found, one).some(
          ({ alert, level }) =>
            alert === one.alert && !LIST_BOUND.includes(alert) && ['high', 'critical'].includes(level),
        ),
    );
    assert.ok(grave.length <= 1, `${grave.length} look-alikes at level high or critical`);
  });
});

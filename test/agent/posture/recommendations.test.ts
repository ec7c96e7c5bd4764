import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Assessment,
  type Assessments,
  RECOMMENDATION_IDS,
  type RecommendationId,
} from '../../../src/agent/posture/recommendation.ts';
import { Recommendations } from '../../../src/agent/posture/recommendations.ts';
import type { Clock } from '../../../src/core/base/clock.ts';
import { type Duration, days, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';

const TIME = Date.parse('2026-05-01T12:00:00.000Z');
const at = (milliseconds: number) => new Date(milliseconds).toISOString();

/** Both clocks: time passes in both, and the wall clock can be set. */
class Clocks implements Pick<Clock, 'now' | 'monotonic'> {
  wall: number;
  #monotonic = 1_000;

  constructor(wall: number) {
    this.wall = wall;
  }

  now = () => new Date(this.wall);
  monotonic = () => milliseconds(this.#monotonic);
  pass(time: Duration): void {
    this.wall += time;
    this.#monotonic += time;
  }
}

const KNOWN = { severity: 'Medium', count: 1, since: at(TIME - days(1)) };
const open = (count: number): Assessment => ({ state: 'holds', severity: 'Medium', count });
const blind: Assessment = { state: 'unknown', reason: 'no /proc' };
const clear: Assessment = { state: 'clear' };
const assessed = (some: Partial<Assessments>): Assessments => ({
  ...(Object.fromEntries(RECOMMENDATION_IDS.map((id) => [id, clear])) as Record<RecommendationId, Assessment>),
  ...some,
});

describe('Recommendations', () => {
  let file: string;
  let clock: Clocks;
  let logged: LogLine[];
  /** Another run of the agent. */
  const start = (wall = TIME) => {
    clock = new Clocks(wall);
    return new Recommendations({ file, files: immediateStateFiles, clock, log: quietLog(logged) });
  };
  const ports = (of: Recommendations, assessment: Assessment) => {
    const { recommendations, notJudged } = of.update(assessed({ openPorts: assessment }));
    return {
      ...recommendations.openPorts,
      ...(notJudged.openPorts === undefined ? {} : { notJudged: notJudged.openPorts }),
    };
  };

  beforeEach(() => {
    file = join(temporaryFolder(), 'recommendations.json');
    logged = [];
  });

  it('starts a recommendation at the first reason, and ends it when the reason is gone', () => {
    const recommendations = start();
    assert.deepEqual(recommendations.update(assessed({})), { recommendations: {}, notJudged: {} });
    assert.deepEqual(ports(recommendations, open(2)), { severity: 'Medium', count: 2, since: at(TIME) });
    clock.pass(hours(1));
    assert.deepEqual(ports(recommendations, open(3)), { severity: 'Medium', count: 3, since: at(TIME) });
    assert.deepEqual(recommendations.update(assessed({})), { recommendations: {}, notJudged: {} });
    assert.equal(ports(recommendations, open(1)).since, at(TIME + hours(1)));
  });

  it('keeps a recommendation, with the reason, while it cannot be assessed', () => {
    const recommendations = start();
    assert.deepEqual(ports(recommendations, blind), { notJudged: 'no /proc' });
    ports(recommendations, open(2));
    clock.pass(hours(1));
    assert.deepEqual(ports(recommendations, blind), {
      severity: 'Medium',
      count: 2,
      since: at(TIME),
      reason: 'no /proc',
    });
    assert.deepEqual(ports(recommendations, open(1)), { severity: 'Medium', count: 1, since: at(TIME) });
    assert.deepEqual(ports(recommendations, clear), {});
    assert.deepEqual(ports(recommendations, blind), { notJudged: 'no /proc' });
  });

  it('restores recommendations after a restart', () => {
    ports(start(), open(2));
    const later = start(TIME + days(3));
    assert.deepEqual(ports(later, blind), { severity: 'Medium', count: 2, since: at(TIME), reason: 'no /proc' });
    assert.deepEqual(ports(later, open(5)), { severity: 'Medium', count: 5, since: at(TIME) });
    assert.deepEqual(ports(later, clear), {});
    assert.deepEqual(ports(start(TIME + days(4)), blind), { notJudged: 'no /proc' });
  });

  it('writes its file only after a change', () => {
    let writes = 0;
    const files = {
      ...immediateStateFiles,
      replace: (...what: Parameters<typeof immediateStateFiles.replace>) => {
        writes += 1;
        immediateStateFiles.replace(...what);
      },
    };
    clock = new Clocks(TIME);
    const recommendations = new Recommendations({ file, files, clock, log: quietLog() });
    for (const assessment of [open(2), open(2), blind, open(2), blind]) ports(recommendations, assessment);
    assert.equal(writes, 1);
    ports(recommendations, open(3));
    assert.equal(writes, 2);
  });

  it('corrects the time of a recommendation once the clock is set', () => {
    const recommendations = start(0);
    assert.equal(ports(recommendations, open(1)).since, at(0));
    clock.pass(minutes(5));
    clock.wall = TIME;
    assert.equal(ports(recommendations, open(1)).since, at(TIME - minutes(5)));
    clock.pass(hours(2));
    assert.equal(ports(recommendations, blind).since, at(TIME - minutes(5)));
    assert.equal(ports(start(TIME + days(1)), open(1)).since, at(TIME - minutes(5)));
  });

  it('gives a repeated recommendation the time of its return', () => {
    const recommendations = start(0);
    ports(recommendations, open(1));
    ports(recommendations, clear);
    clock.pass(hours(1));
    ports(recommendations, open(1));
    clock.pass(minutes(5));
    clock.wall = TIME;
    assert.equal(ports(recommendations, open(1)).since, at(TIME - minutes(5)));
  });

  it('dates recommendations of a run without a clock no later than the next run', () => {
    ports(start(0), open(1));
    const later = start(0);
    assert.equal(ports(later, open(1)).since, at(0));
    clock.pass(minutes(1));
    clock.wall = TIME;
    assert.equal(ports(later, open(1)).since, at(TIME - minutes(1)));
  });

  it('keeps the time when the clock is set forward', () => {
    const recommendations = start();
    ports(recommendations, open(1));
    clock.wall = TIME + days(400);
    assert.equal(ports(recommendations, open(1)).since, at(TIME));
    assert.equal(ports(start(TIME + days(401)), open(1)).since, at(TIME));
  });

  it('keeps the time when the clock is no longer set', () => {
    const recommendations = start();
    ports(recommendations, open(1));
    clock.wall = 0;
    assert.equal(ports(recommendations, open(1)).since, at(TIME));
    assert.equal(ports(start(0), open(1)).since, at(TIME));
  });

  it('never reports a time in the future: corrects it by the time that has passed', () => {
    const recommendations = start(TIME + days(365));
    ports(recommendations, open(1));
    clock.pass(hours(3));
    clock.wall = TIME;
    assert.equal(ports(recommendations, open(1)).since, at(TIME - hours(3)));
    clock.wall = TIME - seconds(30);
    assert.equal(ports(recommendations, open(1)).since, at(TIME - hours(3)), 'the correction is kept');
  });

  it('keeps the time when the clock is slewed by seconds', () => {
    const recommendations = start();
    ports(recommendations, open(1));
    clock.wall = TIME - seconds(30);
    assert.equal(ports(recommendations, open(1)).since, at(TIME));
  });

  for (const [what, text] of Object.entries({
    'no JSON': '{"openPorts":',
    null: 'null',
    'a time that is none': '{"openPorts":{"severity":"Medium","count":1,"since":"yesterday"}}',
    'a severity that is none': '{"openPorts":{"severity":"Huge","count":1,"since":"2026-05-01T12:00:00.000Z"}}',
    'a number that is none': '{"openPorts":{"severity":"Medium","count":-1,"since":"2026-05-01T12:00:00.000Z"}}',
    'far too much': JSON.stringify({ openPorts: KNOWN, ['x'.repeat(100_000)]: KNOWN }),
  }))
    it(`starts over with a warning if its file is ${what}`, () => {
      writeFileSync(file, text);
      assert.deepEqual(ports(start(), blind), { notJudged: 'no /proc' });
      const [line, ...more] = logged;
      assert.equal(line?.level, 'warn');
      assert.match(line?.message ?? '', /^Could not read the saved recommendations; their times start again\. \(/);
      assert.deepEqual(more, []);
    });

  it('reads only known recommendations from its file', () => {
    const since = at(TIME - days(1));
    const known = { severity: 'Low', count: 1, since };
    writeFileSync(file, JSON.stringify({ openPorts: known, makeCoffee: known, constructor: known }));
    const recommendations = start();
    assert.deepEqual(recommendations.update(assessed({ openPorts: blind })).recommendations, {
      openPorts: { ...known, reason: 'no /proc' },
    });
    ports(recommendations, open(2));
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(file, 'utf8'))), ['openPorts']);
  });

  it('works without a disk', () => {
    mkdirSync(file);
    const recommendations = start();
    assert.deepEqual(ports(recommendations, open(1)), { severity: 'Medium', count: 1, since: at(TIME) });
  });
});

import { repeatedNames } from '../../../core/base/json-names.ts';
import { printable, printableJson } from '../../../core/base/text.ts';
import { isPlainObject } from '../../../core/base/values.ts';
import { UsageError, type World } from '../../../core/command-line/command.ts';
import { alertTypeOf } from '../../detections/alerts/policy.ts';
import type { Lists } from '../../detections/detector.ts';
import type { ParsedRule } from '../../detections/sigma/rule.ts';
import { type Hit, levelOf } from '../../detections/subject.ts';
import { linesOf } from '../input-files.ts';
import { bodyIn } from '../verify-chain/record.ts';
import { eventsOf } from './events.ts';
import { Replay } from './replay.ts';
import { builtInRules, faultLine, rulesOfFiles, textOf } from './rule-files.ts';

export interface TestOptions {
  readonly ruleFiles: readonly string[];
  readonly cases?: string | undefined;
  readonly events?: string | undefined;
  readonly json: boolean;
}

export async function testRules({ ruleFiles, cases, events, json }: TestOptions, world: World): Promise<number> {
  if ((cases === undefined) === (events === undefined)) throw new UsageError('give either --cases or --events');
  const { rules, faults } = ruleFiles.length === 0 ? builtInRules() : await rulesOfFiles(ruleFiles);
  for (const fault of faults) world.stderr(printable(faultLine(fault)));
  let areAllEvaluated = true;
  if (cases !== undefined) testCases(cases, rules, json, world);
  else if (events !== undefined) areAllEvaluated = await testEvents(events, rules, json, world);
  return areAllEvaluated && faults.length === 0 ? 0 : 1;
}

interface Alert {
  readonly alert: string;
  readonly level: string;
  readonly rule: string;
  /** The trusted actor that lowered the level. */
  readonly during?: string;
}

/** Each rule that fired, once. */
function alertsOf(hits: readonly Hit[]): readonly Alert[] {
  const byRule = new Map(hits.map((hit) => [hit.rule.id, hit]));
  return [...byRule.values()].map((hit) => ({
    alert: alertTypeOf(hit.rule),
    level: levelOf(hit),
    rule: hit.rule.id,
    ...(hit.during === undefined ? {} : { during: hit.during }),
  }));
}

interface Cases {
  readonly lists: Lists;
  readonly listBound: readonly unknown[];
  readonly cases: readonly { readonly case: string; readonly alert?: unknown; readonly events: readonly unknown[] }[];
  readonly benign: readonly unknown[];
}

/** The lists are set for cases of the alerts in `listBound` only: rules that require one are off for all others. */
function testCases(file: string, rules: readonly ParsedRule[], json: boolean, { stdout, signal }: World): void {
  const { lists, listBound, cases, benign } = casesOf(file);
  const plain = new Replay(rules, {});
  const withLists = new Replay(rules, lists);
  for (const { case: name, alert, events } of cases) {
    signal.throwIfAborted();
    const replay = alert !== undefined && listBound.includes(alert) ? withLists : plain;
    replay.restart();
    const alerts = alertsOf(events.flatMap((event) => hitsOf(event, replay, `case ${name}`)));
    if (json) stdout(printableJson(JSON.stringify({ case: name, alerts })));
    else stdout(printable(`${name}: ${words(alerts)}`));
  }
  for (const [index, event] of benign.entries()) {
    plain.restart();
    const alerts = alertsOf(hitsOf(event, plain, `benign event ${index}`));
    if (alerts.length === 0) continue;
    if (json) stdout(printableJson(JSON.stringify({ benign: index, alerts })));
    else stdout(printable(`benign event ${index}: ${words(alerts)}`));
  }
}

function hitsOf(event: unknown, replay: Replay, label: string): Hit[] {
  const events = eventsOf(event);
  if (events === undefined)
    throw new UsageError(`${label} has an event that is neither a message, an event nor a payload`);
  return events.flatMap((each) => replay.evaluate(each));
}

function casesOf(file: string): Cases {
  const text = textOf(file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${(error as Error).message}`);
  }
  const [repeated] = repeatedNames(text);
  if (repeated !== undefined) throw new UsageError(`${file} has ${repeated.path.join('.')} twice in one object`);
  if (!isPlainObject(value)) throw new UsageError(`${file} has no cases`);
  if (value.cases === undefined && value.benign === undefined)
    throw new UsageError(`${file} has neither "cases" nor "benign"`);
  const list = (all: unknown, name: string): readonly unknown[] => {
    if (all === undefined) return [];
    if (!Array.isArray(all)) throw new UsageError(`${name} of ${file} is not a list`);
    return all;
  };
  const { lists = {} } = value;
  if (!isPlainObject(lists)) throw new UsageError(`"lists" of ${file} is not an object whose members are lists`);
  return {
    lists: Object.fromEntries(
      Object.entries(lists).map(([name, all]) => [name, list(all, `"${name}" in "lists"`).map(String)]),
    ),
    listBound: list(value.listBound, '"listBound"'),
    cases: list(value.cases, '"cases"').map((given, index) => {
      if (!isPlainObject(given) || typeof given.case !== 'string')
        throw new UsageError(`case ${index + 1} of ${file} has no name: "case" is a text`);
      if (given.events === undefined) throw new UsageError(`the case "${given.case}" of ${file} has no "events"`);
      const events = list(given.events, `"events" of the case "${given.case}"`);
      return { case: given.case, events, ...(given.alert === undefined ? {} : { alert: given.alert }) };
    }),
    benign: list(value.benign, '"benign"'),
  };
}

/** @returns whether there were events, and no line was skipped */
async function testEvents(file: string, rules: readonly ParsedRule[], json: boolean, world: World): Promise<boolean> {
  const replay = new Replay(rules, {});
  let evaluatedCount = 0;
  let skipped = 0;
  for await (const [bytes, line] of linesOf(file, world.signal)) {
    world.signal.throwIfAborted();
    const text = bytes.toString().trim();
    if (text === '') continue;
    const events = eventsOf(eventOrMessage(text));
    if (events === undefined) {
      skipped += 1;
      world.stderr(`Line ${line} is neither a message, an event nor a payload.`);
      continue;
    }
    evaluatedCount += events.length;
    for (const event of events) {
      const hits = replay.evaluate(event);
      if (hits.length === 0) continue;
      const alerts = alertsOf(hits);
      const { id, name } = event;
      if (json)
        world.stdout(printableJson(JSON.stringify({ line, event: name, ...(id === undefined ? {} : { id }), alerts })));
      else world.stdout(printable(`line ${line}, ${name}: ${words(alerts)}`));
    }
  }
  if (evaluatedCount === 0) world.stderr('No event was evaluated.');
  return evaluatedCount > 0 && skipped === 0;
}

/** What a line has: an event, or the body of a message, if the line has its properties, too. */
function eventOrMessage(text: string): unknown {
  const value = parsed(text);
  const body = isPlainObject(value) ? bodyIn(text) : undefined;
  return body === undefined ? value : parsed(body);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const words = (alerts: readonly Alert[]): string =>
  alerts.length === 0 ? 'nothing' : alerts.map(({ alert, level, rule }) => `${alert} (${level}, ${rule})`).join(', ');

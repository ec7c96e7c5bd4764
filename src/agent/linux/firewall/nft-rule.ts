import { ExpressionWriter, get, listOf, nameOf, onlyProperty } from './nft-expression.ts';
import { type Context, leafOf, subjectOf, written } from './nft-match.ts';
import { joined, RuleDraft } from './rule-draft.ts';
import type { Action, Rule } from './ruleset.ts';
import { XT_ACTIONS } from './vocabulary.ts';

/* Statements of nft, one at a time: libnftables-json(5), STATEMENTS. */

/** The sets and maps of the table that a rule belongs to. */
export interface Sets {
  /** The elements of a set or map; `undefined` when it is not known. */
  elements(name: string): readonly unknown[] | undefined;
  /** The same as a short text. */
  summary(name: string): string | undefined;
}

/**
 * A rule as nft lists it: `{ "expr": [ STATEMENTS ], "comment": … }`. A rule that ends with a verdict map becomes one
 * rule for each verdict of the map.
 */
export const rulesOf = (value: unknown, sets: Sets): Rule[] =>
  withoutVerdictMap(listOf(get(value, 'expr') ?? [])).map((statements) =>
    ruleOf(statements, get(value, 'comment'), sets),
  );

/** `tcp dport vmap { 22 : accept, 80 : accept, * : drop }`: `tcp dport { 22, 80 } accept`, `tcp dport != { 22, 80 } drop`. */
function withoutVerdictMap(statements: readonly unknown[]): (readonly unknown[])[] {
  const at = statements.findIndex((statement) => get(get(get(statement, 'vmap'), 'data'), 'set') !== undefined);
  const map = get(statements[at], 'vmap');
  const pairs = listOf(get(get(map, 'data'), 'set') ?? []).map(listOf);
  const others = pairs.filter(([key]) => key === '*');
  const named = pairs.filter(([key]) => key !== '*');
  if (named.length === 0) return [statements];
  const byVerdict = new Map<string, (readonly unknown[])[]>();
  const writer = new ExpressionWriter();
  for (const pair of named) {
    const verdict = writer.write(pair[1]);
    const same = byVerdict.get(verdict);
    if (same === undefined) byVerdict.set(verdict, [pair]);
    else same.push(pair);
  }
  const match = (op: string, of: readonly (readonly unknown[])[]) => ({
    match: { op, left: get(map, 'key'), right: { set: of.map(([key]) => key) } },
  });
  return [
    ...[...byVerdict.values()].map((same) => [match('==', same), same[0]?.[1]]),
    ...others.map(([, verdict]) => [match('!=', named), verdict]),
  ].map((instead) => statements.toSpliced(at, 1, ...instead));
}

function ruleOf(statements: readonly unknown[], comment: unknown, sets: Sets): Rule {
  const draft = new RuleDraft();
  const mentioned = new Set<string>();
  const context = { draft, sets, mentioned };
  for (const statement of statements) {
    const { name, value: details } = onlyProperty(statement) ?? { name: 'statement', value: statement };
    const read = STATEMENTS.get(name);
    if (read === undefined) draft.effect(name, written(context, details));
    else read(details, context, name);
  }
  for (const name of mentioned) {
    const summary = sets.summary(name);
    if (summary !== undefined) draft.match('sets', `@${name} ${summary}`.trim());
  }
  if (typeof comment === 'string') draft.match('comment', comment);
  return draft.finish();
}

type Statement = (details: unknown, context: RuleContext, name: string) => void;

interface RuleContext extends Context {
  readonly sets: Sets;
}

const verdict =
  (action: Action): Statement =>
  (_details, { draft }, name) =>
    draft.end(action, name);

const jump: Statement = (details, { draft }, name) => {
  const target = nameOf(get(details, 'target'));
  draft.reach(target);
  draft.end('Other', `${name} ${target}`);
};

/** dnat, snat, masquerade, redirect, tproxy: `dnat ip to 10.0.0.1:80 random`. */
const translation =
  (settle: (draft: RuleDraft, name: string, text: string) => void): Statement =>
  (details, context, name) => {
    const text = (property: string) => written(context, get(details, property));
    const port = text('port');
    const address = text('addr');
    const bracketed = port !== '' && address.includes(':') && !address.includes(' ') ? `[${address}]` : address;
    const to = port === '' ? address : `${bracketed}:${port}`;
    const parts = [text('family'), to === '' ? '' : `to ${to}`, text('flags'), text('type_flags')];
    settle(context.draft, name, parts.filter((part) => part !== '').join(' '));
  };
const translate = translation((draft, name, text) => draft.end('Other', `${name} ${text}`.trim()));

/** `limit rate over 10/minute burst 5`, or a named one. */
const limit: Statement = (details, context) => {
  const text = (property: string) => written(context, get(details, property));
  const unit = (property: string) => (text(property) === '' ? '' : ` ${text(property)}`);
  const burst = get(details, 'burst') === undefined ? '' : ` burst ${text('burst')}${unit('burst_unit')}`;
  context.draft.match(
    'limit',
    typeof details === 'string'
      ? `name ${details}`
      : `${over(details)}${text('rate')}${unit('rate_unit')}/${text('per')}${burst}`,
  );
};

const quota: Statement = (details, context) => {
  const text = (property: string) => written(context, get(details, property));
  context.draft.match(
    'quota',
    typeof details === 'string' ? `name ${details}` : `${over(details)}${text('val')} ${text('val_unit')}`.trim(),
  );
};

const over = (details: unknown) => (get(details, 'inv') === true ? 'over ' : '');

/** `log prefix "in: " group 2`: user-defined strings in quotes, the rest as it is. */
const log: Statement = (details, context) => {
  const settings = typeof details === 'object' && details !== null ? Object.entries(details) : [];
  context.draft.effect(
    'log',
    joined(
      settings,
      ' ',
      ([name, value]) => `${name} ${name === 'prefix' ? JSON.stringify(nameOf(value)) : written(context, value)}`,
    ),
  );
};

/** `add @banned { ip saddr timeout 60s limit 10/second }`. The content of such a set is filled by packets and left out. */
const dynamicSet: Statement = (details, context) => {
  const text = (property: string) => written(context, get(details, property));
  const inner = new RuleDraft();
  for (const statement of listOf(get(details, 'stmt') ?? [])) {
    const { name, value } = onlyProperty(statement) ?? { name: 'statement', value: statement };
    const read = name === 'limit' || name === 'quota' || name === 'ct count' ? STATEMENTS.get(name) : undefined;
    if (read === undefined) inner.match(name, '');
    else read(value, { ...context, draft: inner }, name);
  }
  const each = Object.entries(inner.finish().matches).map(([name, text]) => `${name} ${text}`.trim());
  const data = text('data') === '' ? [] : [':', text('data')];
  const set = nameOf(get(details, 'set') ?? get(details, 'map'));
  context.draft.effect(text('op') || 'add', `${set} { ${[text('elem'), ...data, ...each].join(' ')} }`);
};

/** A named verdict map, whose content can change: `iifname vmap @ways`. For unnamed ones, see `withoutVerdictMap`. */
const verdictMap: Statement = (details, context) => {
  const { draft, sets } = context;
  const map = written(context, get(details, 'data'));
  subjectOf(get(details, 'key'), context).match('==', map);
  const pairs = sets.elements(map.replace(/^@/, ''));
  if (pairs === undefined) draft.reach();
  for (const pair of pairs ?? []) {
    const { name, value } = onlyProperty(listOf(pair)[1]) ?? {};
    if (name === 'jump' || name === 'goto') draft.reach(nameOf(get(value, 'target')));
  }
  draft.end('Other', `vmap ${map}`);
};

/** An extension of iptables, of which nft's JSON has only the name. */
const extension: Statement = (details, { draft }) => {
  const name = nameOf(get(details, 'name')) || 'unknown';
  const type = nameOf(get(details, 'type'));
  draft.hide();
  if (type === 'target') draft.end(XT_ACTIONS.get(name) ?? 'Other', name);
  else if (type === 'watcher') draft.effect('xt watcher', name);
  else draft.match('xt match', name);
};

const ignored: Statement = () => {};

/** libnftables-json(5), STATEMENTS. A statement not listed here is recorded as an effect. */
const STATEMENTS: ReadonlyMap<string, Statement> = new Map(
  Object.entries<Statement>({
    match: (details, context) =>
      subjectOf(get(details, 'left'), context).match(nameOf(get(details, 'op')), get(details, 'right')),
    accept: verdict('Allow'),
    drop: verdict('Deny'),
    continue: verdict('Other'),
    return: verdict('Other'),
    jump,
    goto: jump,
    vmap: verdictMap,
    reject: (details, context) => {
      const how = [get(details, 'type'), get(details, 'expr')].map((part) => written(context, part));
      context.draft.end('Deny', ['reject', ...(how.join('') === '' ? [] : ['with']), ...how].join(' ').trim());
    },
    queue: (details, context) => context.draft.end('Other', `queue ${written(context, details)}`.trim()),
    fwd: (details, context) => context.draft.end('Other', `fwd ${written(context, details)}`.trim()),
    dnat: translate,
    snat: translate,
    masquerade: translate,
    redirect: translate,
    tproxy: translation((draft, name, text) => draft.effect(name, text)),
    limit,
    quota,
    'ct count': (details, context) =>
      context.draft.match('ct count', `${over(details)}${written(context, get(details, 'val'))}`),
    counter: (details, { draft }) => typeof details === 'string' && draft.effect('counter', details),
    last: ignored,
    log,
    mangle: (details, context) => {
      const key = written(context, get(details, 'key'));
      context.draft.effect('set', `${key} = ${written(context, get(details, 'value'), leafOf(key))}`);
    },
    set: dynamicSet,
    map: dynamicSet,
    xt: extension,
  }),
);

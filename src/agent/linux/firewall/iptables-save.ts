import { RuleDraft } from './rule-draft.ts';
import type { ChainDraft, Rule, Table } from './ruleset.ts';
import { protocolName, XT_ACTIONS } from './vocabulary.ts';

/* Reads the output of iptables-save(8) and its variants:
 *
 *     *filter
 *     :INPUT DROP [0:0]
 *     :WEB - [0:0]
 *     -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m comment --comment "it\'s mine" -j ACCEPT
 *     COMMIT
 */

/** A word of a line. */
interface Token {
  readonly text: string;
  readonly quoted: boolean;
}

/**
 * The lines of the output, each split into words; without comments.
 *
 * Quoting is that of xtables_save_string(): `"`, `\` and `'` are preceded by `\`, and a line break is written as it is, so
 * a line break in a comment does not end the rule. An unterminated quote ends with its line.
 */
export function* tokenLines(text: string): Generator<Token[]> {
  const space = /[^\S\n]*/y;
  const plain = /[^\s"]+/y;
  let unended = false;
  let line: Token[] = [];
  for (let at = 0; at < text.length; ) {
    const first = text[at];
    if (first === '\n') {
      if (line.length > 0) yield line;
      line = [];
      at += 1;
    } else if (first === '#' && line.length === 0) {
      at = lineEnd(text, at);
    } else if (first === '"') {
      const close: number = unended ? -1 : closingQuote(text, at + 1);
      unended ||= close === -1; // after one unterminated quote, do not search the rest again for each further one
      const end = close === -1 ? lineEnd(text, at) : close;
      line.push({ text: text.slice(at + 1, end).replace(/\\([\s\S])/g, '$1'), quoted: true });
      at = close === -1 ? end : close + 1;
    } else {
      plain.lastIndex = at;
      const [word] = plain.exec(text) ?? [];
      if (word === undefined) {
        space.lastIndex = at;
        at += Math.max(1, space.exec(text)?.[0].length ?? 1);
      } else {
        line.push({ text: word, quoted: false });
        at += word.length;
      }
    }
  }
  if (line.length > 0) yield line;
}

const lineEnd = (text: string, from: number) => {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
};

function closingQuote(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '"') return at;
    if (text[at] === '\\') at += 1;
  }
  return -1;
}

/**
 * The tables of x_tables, or the tables of nftables that iptables can show.
 *
 * Unknown lines are skipped; within a rule nothing is skipped (see RuleDraft).
 */
export function parseIptablesSave(text: string, { origin, family }: Pick<Table, 'origin' | 'family'>): Table[] {
  const tables = new Map<string, Map<string, ChainDraft>>();
  let chains: Map<string, ChainDraft> | undefined;
  for (const tokens of tokenLines(text)) {
    const [first = '', second] = tokens.map((token) => token.text);
    if (first.startsWith('*')) {
      chains = tables.get(first.slice(1)) ?? new Map();
      tables.set(first.slice(1), chains);
    } else if (first.startsWith(':')) {
      chains?.set(first.slice(1), chainOf(first.slice(1), second));
    } else if (chains !== undefined) {
      // With -c, the rule's counters come first.
      const [append, chain, ...says] = /^\[\d+:\d+\]$/.test(first) ? tokens.slice(1) : tokens;
      if (append?.text === '-A' && chain !== undefined) known(chains, chain.text).rules.push(ruleOf(says, chains));
    }
  }
  return [...tables].map(([name, inside]) => ({ origin, family, name, dormant: false, chains: [...inside.values()] }));
}

function known(chains: Map<string, ChainDraft>, name: string): ChainDraft {
  const chain = chains.get(name) ?? { name, rules: [] };
  chains.set(name, chain);
  return chain;
}

/** `-` stands for the policy of a user-defined chain, which has none. */
const chainOf = (name: string, policy = '-'): ChainDraft =>
  policy === '-'
    ? { name, rules: [] }
    : { name, base: { hook: name.toLowerCase(), policy: policy === 'DROP' ? 'drop' : 'accept', facts: {} }, rules: [] };

interface Option {
  /** Its name in RuleDraft. */
  readonly name: string;
  /** The number of words that follow it. */
  readonly words?: number;
  readonly text?: (words: readonly string[]) => string;
}

/** `1024:65535` as `1024-65535`. */
const ports = (words: readonly string[]) => words.join(' ').replaceAll(':', '-');
/** iptables writes a single address as a network with a full-length prefix. */
const address = (words: readonly string[]) => words.join(' ').replace(/^([\d.]+)\/32$|^([\da-f:.]+)\/128$/, '$1$2');
const lowerCase = (words: readonly string[]) => words.join(' ').toLowerCase();

/** The parameters of iptables itself: iptables(8), PARAMETERS. */
const PARAMETERS: ReadonlyMap<string, Option> = new Map([
  ['-s', { name: 'source address', text: address }],
  ['-d', { name: 'destination address', text: address }],
  ['-p', { name: 'protocol', text: (words) => protocolName(words.join(' ')) }],
  ['-i', { name: 'in-interface' }],
  ['-o', { name: 'out-interface' }],
  ['-f', { name: 'fragment', words: 0, text: () => 'second and further' }],
]);

/**
 * Options that have another name in the contract or in nft, by module and option: iptables-extensions(8). All others keep
 * their name.
 */
const OPTIONS: ReadonlyMap<string, Option> = new Map([
  ...['tcp', 'udp', 'sctp', 'dccp', 'udplite'].flatMap((module): [string, Option][] => [
    [`${module} --sport`, { name: 'source port', text: ports }],
    [`${module} --dport`, { name: 'destination port', text: ports }],
  ]),
  ['multiport --sports', { name: 'source port', text: ports }],
  ['multiport --dports', { name: 'destination port', text: ports }],
  ['multiport --ports', { name: 'source or destination port', text: ports }],
  ['iprange --src-range', { name: 'source address' }],
  ['iprange --dst-range', { name: 'destination address' }],
  ['conntrack --ctstate', { name: 'ct state', text: lowerCase }],
  ['state --state', { name: 'ct state', text: lowerCase }],
  ['connmark --mark', { name: 'ct mark' }],
  ['tcp --tcp-flags', { name: 'tcp flags', words: 2, text: ([mask = '', set = '']) => flags(set, mask) }],
  ['tcp --tcp-option', { name: 'tcp option' }],
  ['icmp --icmp-type', { name: 'icmp type' }],
  ['icmp6 --icmpv6-type', { name: 'icmpv6 type' }],
  ['set --match-set', { name: 'set', words: 2, text: ([name = '', dimensions = '']) => `@${name} ${dimensions}` }],
  ['comment --comment', { name: 'comment' }],
]);

/** `FIN,SYN SYN` as nft writes it: `syn/fin|syn`. */
const flags = (set: string, mask: string) =>
  [set, mask].map((names) => names.toLowerCase().replaceAll(',', '|')).join('/');

/** Modules that mean nothing without an option: `-p tcp -m tcp`. */
const SILENT = new Set(['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'icmp', 'icmp6', 'esp', 'ah', 'mh']);

/** A parameter or an option, with its words: `! --dport 22`. */
interface RulePart {
  /** `!`, or nothing. */
  readonly not: string;
  /** The module that the option belongs to; empty for iptables' own. */
  readonly module: string;
  readonly word: string;
  /** How it is written, if it is known. */
  readonly option: Option | undefined;
  readonly values: readonly Token[];
}

function* partsOf(tokens: readonly Token[]): Generator<RulePart> {
  let module = '';
  let not = '';
  for (let at = 0; at < tokens.length; ) {
    const word = written(tokens[at]);
    at += 1;
    if (word === '!') {
      not = '!';
      continue;
    }
    const option = PARAMETERS.get(word) ?? OPTIONS.get(`${module} ${word}`);
    const isTarget = word === '-j' || word === '-g'; // the rest of the rule belongs to the target
    const end = isTarget ? tokens.length : at + (option === undefined ? valuesFrom(tokens, at) : (option.words ?? 1));
    const values = tokens.slice(at, end);
    if (word === '-m') module = textOf(values);
    yield { not, module, word, option, values };
    not = '';
    at = end;
  }
}

function ruleOf(tokens: readonly Token[], chains: ReadonlyMap<string, unknown>): Rule {
  const draft = new RuleDraft();
  const all = [...partsOf(tokens)];
  for (const [index, { not, module, word, option, values }] of all.entries()) {
    if (word === '-j' || word === '-g') {
      target(draft, word, values, chains);
    } else if (word === '-m') {
      const isAll = ['-m', '-j', '-g', undefined].includes(all[index + 1]?.word);
      if (isAll && !SILENT.has(module)) draft.match(module, 'yes');
    } else if (option === undefined) {
      const says = [withoutModule(word, module), textOf(values)].filter((part) => part !== '');
      draft.match(module || 'option', not + says.join(' '));
    } else {
      const texts = values.map(({ text }) => text);
      draft.match(option.name, not + (option.text?.(texts) ?? texts.join(' ')));
    }
  }
  return draft.finish();
}

/** Whether a word begins a new option. Values can look the same, but only those of options that are in OPTIONS. */
const isOption = ({ text, quoted }: Token) => !quoted && /^(?:!$|--?[a-zA-Z])/.test(text);

/** The number of words that belong to an unknown option. */
function valuesFrom(tokens: readonly Token[], from: number): number {
  let end = from;
  for (let token = tokens[end]; token !== undefined && !isOption(token); token = tokens[end]) end += 1;
  return end - from;
}

/** `--limit-burst` of the module `limit` becomes `burst`, and `--limit` becomes empty. */
function withoutModule(option: string, module: string): string {
  const name = option.replace(/^-+/, '');
  if (name === module) return '';
  return module !== '' && name.startsWith(`${module}-`) ? name.slice(module.length + 1) : name;
}

/** A word quoted as by iptables-save. */
const written = ({ text, quoted }: Token = { text: '', quoted: false }) => (quoted ? JSON.stringify(text) : text);
const textOf = (tokens: readonly Token[]) => tokens.map((token) => written(token)).join(' ');

function target(draft: RuleDraft, how: string, all: readonly Token[], chains: ReadonlyMap<string, unknown>): void {
  const name = all[0]?.text ?? '';
  if (how === '-g' || chains.has(name)) {
    draft.reach(name);
    draft.end('Other', `${how === '-g' ? 'goto' : 'jump'} ${name}`);
  } else {
    draft.end(XT_ACTIONS.get(name) ?? 'Other', textOf(all));
  }
}

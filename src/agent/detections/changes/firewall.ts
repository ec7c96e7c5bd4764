import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import { type Base, includes, type Rows } from './kept-rows.ts';
import type { ChangeKind } from './kind.ts';
import { detailsOf, omit, ownFields } from './rows.ts';

/** ExtraDetails that are not conditions on packets. */
const NO_MATCHES = ['Origin', 'Family', 'Table', 'Target', 'Policy', 'Comment', 'Sets', 'Counter'];

/**
 * A policy is identified by its chain. A rule has no name: it is identified by its content, at any position in its chain.
 * An edited rule is therefore one removed rule and one added rule.
 */
export const firewallChanges: ChangeKind = {
  event: 'FirewallConfiguration',
  source: 'firewall_change',

  read(row, lacksDetails) {
    const own = ownFields(row);
    const details = detailsOf(row);
    // A rule whose conditions were omitted would look unconditional.
    if (lacksDetails && Object.keys(details).length === 0) return undefined;
    const kind = isPolicy(own, details) ? 'policy' : 'rule';
    const matches = Object.entries(omit(details, NO_MATCHES)).map(([name, value]) => `${name} ${value}`);
    return {
      ...omit(details, ['Policy']),
      ...omit(own, ['Priority']),
      Kind: kind,
      ...(matches.length === 0 || kind === 'policy' ? {} : { OtherMatches: matches.join('; ') }),
    };
  },

  keyOf(row) {
    const { Kind = '', Family = '', Table = '', ChainName = '', ...rest } = row;
    // Elements of sets change, for example addresses banned by fail2ban.
    const { Enabled: _, Sets: __, ...content } = rest;
    const place = [Kind, Family, Table, ChainName];
    return JSON.stringify(Kind === 'policy' ? place : [...place, Object.entries(content).sort()]);
  },

  differences(compared, base, rows) {
    const modifiedRows = compared.modified.map(({ before = {}, after }) =>
      modified(before, after, beforeOf(before, after)),
    );
    const reported = new Set(
      compared.modified.filter(({ after }) => after.Kind === 'policy').map(({ after }) => after.Direction),
    );
    const opened = openings(base, rows, compared.removed).filter(({ Direction }) => !reported.has(Direction));
    return [
      // Rules that may have existed before are not reported; checking first avoids building tens of thousands of unneeded changes.
      ...(includes(base.partial, '') ? [] : compared.added.filter((row) => !isPlaceholder(row)).map(added)),
      ...compared.removed.filter((row) => !isPlaceholder(row)).map(removed),
      ...modifiedRows,
      ...opened,
    ];
  },
};

/** The collector writes `policy drop` as target; without rules, it lists chains with no other field. */
function isPolicy(own: Fields, details: Fields): boolean {
  if (details.Policy !== undefined || /^policy\b/i.test(details.Target ?? '')) return true;
  return own.Enabled === 'false' && own.Priority === undefined && details.Target === undefined;
}

/** One of the three rows that mean "nothing is configured". */
const isPlaceholder = ({ Kind, Enabled, Target, Family }: Fields) =>
  Kind === 'policy' && Enabled === 'false' && Target === undefined && Family === undefined;

const beforeOf = (before: Fields, after: Fields): Fields => ({
  ...(before.Action === undefined ? {} : { Before: before.Action }),
  ...(after.Action === undefined ? {} : { After: after.Action }),
  ...(before.Enabled === undefined ? {} : { BeforeEnabled: before.Enabled }),
  ...(after.Enabled === undefined ? {} : { AfterEnabled: after.Enabled }),
});

/** `undefined` for forwarded packets. */
const DIRECTIONS = ['In', 'Out', undefined] as const;

/**
 * Removed default-deny policies, whose chain or table no longer exists: `nft flush ruleset` leaves no policy that could differ.
 * Reported as a modified policy, like a policy that is set to accept.
 */
function openings(base: Base, rows: Rows, removedRows: readonly Fields[]): Fields[] {
  const before = [...base.rows.values()];
  const after = [...rows.values()];
  const isOff = before.some(guards) && !after.some(({ Enabled }) => Enabled === 'true');
  return DIRECTIONS.flatMap((direction) => {
    const lost = removedRows.filter((row) => row.Direction === direction);
    const removedGuard = lost.find(deniesByDefault) ?? (isOff && direction === 'In' ? lost.find(guards) : undefined);
    // A firewall that stops filtering forwarded packets is normal after forwarding was disabled.
    if (removedGuard === undefined || (direction === undefined && !isOff)) return [];
    if (after.some((row) => row.Direction === direction && deniesByDefault(row))) return [];
    const now: Fields = { ...removedGuard, Kind: 'policy', Action: 'Allow', Enabled: String(!isOff) };
    return [modified(removedGuard, now, beforeOf({ ...removedGuard, Enabled: 'true' }, now))];
  });
}

/** Rules, and policies that deny; not the kernel's default policies. */
const guards = ({ Enabled, Kind, Action }: Fields) => Enabled === 'true' && (Kind === 'rule' || Action === 'Deny');

const CONDITIONS = ['SourceAddress', 'SourcePort', 'DestinationAddress', 'DestinationPort', 'Protocol', 'OtherMatches'];

/** A policy that denies, or a rule that denies all packets. */
const deniesByDefault = (row: Fields) =>
  row.Enabled === 'true' && row.Action === 'Deny' && CONDITIONS.every((name) => row[name] === undefined);

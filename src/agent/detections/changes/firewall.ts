import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import { type Base, includes, type Rows } from './kept-rows.ts';
import type { ChangeKind } from './kind.ts';
import { detailsOf, omit, ownFields } from './row-fields.ts';

/** ExtraDetails that are no condition on packets. */
const NO_MATCHES = ['Origin', 'Family', 'Table', 'Target', 'Policy', 'Comment', 'Sets', 'Counter'];

/**
 * A policy is the same as long as it is the one of its chain. A rule has no name: it is the same as long as it says the same,
 * wherever in its chain it stands. So a rule that was edited is one that was removed and one that was added.
 */
export const firewallChanges: ChangeKind = {
  event: 'FirewallConfiguration',
  source: 'firewall_change',

  read(row, lacksDetails) {
    const own = ownFields(row);
    const details = detailsOf(row);
    // A rule whose conditions were left out would look as if it had none.
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
    const { Kind = '', Family = '', Table = '', ChainName = '', ...others } = row;
    // Elements of sets come and go, for example what fail2ban bans.
    const { Enabled: _, Sets: __, ...content } = others;
    const place = [Kind, Family, Table, ChainName];
    return JSON.stringify(Kind === 'policy' ? place : [...place, Object.entries(content).sort()]);
  },

  differences(compared, base, rows) {
    const modifiedRows = compared.modified.map(({ before = {}, after }) =>
      modified(before, after, beforeOf(before, after)),
    );
    const told = new Set(
      compared.modified.filter(({ after }) => after.Kind === 'policy').map(({ after }) => after.Direction),
    );
    const opened = openings(base, rows, compared.removed).filter(({ Direction }) => !told.has(Direction));
    return [
      // What may have been there before is not told; to make tens of thousands of changes in vain takes long.
      ...(includes(base.partial, '') ? [] : compared.added.filter((row) => !isPlaceholder(row)).map(added)),
      ...compared.removed.filter((row) => !isPlaceholder(row)).map(removed),
      ...modifiedRows,
      ...opened,
    ];
  },
};

/** The collector writes `policy drop` as target; without rules it lists chains that have no other field. */
function isPolicy(own: Fields, details: Fields): boolean {
  if (details.Policy !== undefined || /^policy\b/i.test(details.Target ?? '')) return true;
  return own.Enabled === 'false' && own.Priority === undefined && details.Target === undefined;
}

/** One of the three rows that stand for "nothing is configured". */
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
 * What denied packets by default and is gone, with its chain or its table: `nft flush ruleset` leaves no policy behind that
 * could differ. Told as the policy that was modified, like a policy that is set to accept.
 */
function openings(base: Base, rows: Rows, removedRows: readonly Fields[]): Fields[] {
  const before = [...base.rows.values()];
  const after = [...rows.values()];
  const isOff = before.some(guards) && !after.some(({ Enabled }) => Enabled === 'true');
  return DIRECTIONS.flatMap((direction) => {
    const lost = removedRows.filter((row) => row.Direction === direction);
    const gone = lost.find(deniesByDefault) ?? (isOff && direction === 'In' ? lost.find(guards) : undefined);
    // That a firewall no longer looks at forwarded packets is normal when forwarding was given up.
    if (gone === undefined || (direction === undefined && !isOff)) return [];
    if (after.some((row) => row.Direction === direction && deniesByDefault(row))) return [];
    const now: Fields = { ...gone, Kind: 'policy', Action: 'Allow', Enabled: String(!isOff) };
    return [modified(gone, now, beforeOf({ ...gone, Enabled: 'true' }, now))];
  });
}

/** Rules, and policies that deny; not the policies that the kernel has by itself. */
const guards = ({ Enabled, Kind, Action }: Fields) => Enabled === 'true' && (Kind === 'rule' || Action === 'Deny');

const CONDITIONS = ['SourceAddress', 'SourcePort', 'DestinationAddress', 'DestinationPort', 'Protocol', 'OtherMatches'];

/** A policy that denies, or a rule that denies whatever reaches it. */
const deniesByDefault = (row: Fields) =>
  row.Enabled === 'true' && row.Action === 'Deny' && CONDITIONS.every((name) => row[name] === undefined);

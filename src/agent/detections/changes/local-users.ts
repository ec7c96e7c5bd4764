import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { allFields, pick } from './rows.ts';

const NAMES = ['UserName', 'UserId', 'GroupNames', 'GroupIds', 'Shell', 'Password'];

/** An account is identified by its name. */
export const localUserChanges: ChangeKind = {
  event: 'LocalUsers',
  source: 'local_user_change',

  read: (row) => pick(allFields(row), NAMES),

  keyOf: ({ UserName = '' }) => UserName,

  differences(compared) {
    return [
      ...compared.added.map(added),
      ...compared.removed.map(removed),
      ...compared.modified.flatMap(({ before, after }) =>
        before === undefined ? [modified({}, after)] : ofAccount(before, after),
      ),
    ];
  },
};

/** One change for each group, and one for all other fields together. */
function ofAccount(before: Fields, after: Fields): Fields[] {
  const [groupsBefore, groupsAfter] = [groupsOf(before), groupsOf(after)];
  const group = (name: string, change: string, groups: ReadonlyMap<string, string>) =>
    modified(before, after, { Change: change, Group: name, GroupId: groups.get(name) ?? '' });
  return [
    ...(hasChanged(before, after) ? [modified(before, after)] : []),
    ...[...groupsAfter.keys()]
      .filter((name) => !groupsBefore.has(name))
      .map((name) => group(name, 'group_added', groupsAfter)),
    ...[...groupsBefore.keys()]
      .filter((name) => !groupsAfter.has(name))
      .map((name) => group(name, 'group_removed', groupsBefore)),
  ];
}

/** Ids, keyed by name. */
function groupsOf({ GroupNames = '', GroupIds = '' }: Fields): Map<string, string> {
  const ids = GroupIds.split(';');
  return new Map(GroupNames === '' ? [] : GroupNames.split(';').map((name, index) => [name, ids[index] ?? '']));
}

/** A field that is missing in one of the snapshots is unknown there, because ExtraDetails can be omitted. */
function hasChanged(before: Fields, after: Fields): boolean {
  const isKnownToDiffer = (name: string) =>
    before[name] !== undefined && after[name] !== undefined && before[name] !== after[name];
  return ['UserId', 'Shell', 'Password'].some(isKnownToDiffer) || primaryGroup(before) !== primaryGroup(after);
}

const primaryGroup = ({ GroupNames = '' }: Fields) => GroupNames.split(';')[0];

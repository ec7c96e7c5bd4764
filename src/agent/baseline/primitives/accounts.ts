import { primitive } from '../primitive.ts';
import { evaluateEntries } from './accounts-entries.ts';
import { evaluateHomes } from './accounts-homes.ts';
import { isOfHomes, type Params, params } from './accounts-params.ts';
import { evaluateRootPath } from './accounts-root-path.ts';

type Words = {
  readonly [C in Params['check']]: (of: Extract<Params, { check: C }>) => readonly [expected: string, remedy: string];
};

const WORDS: Words = {
  onlyUid0: ({ allow }) => [
    `only ${allow.join(', ')} has uid 0`,
    'Remove the other account, or give it a uid of its own.',
  ],
  primaryGid: ({ user, gid }) => [`${user} has the primary group ${gid}`, `usermod -g ${gid} ${user}.`],
  onlyGid0Group: ({ allow }) => [`only ${allow.join(', ')} has gid 0`, 'Give the other group a gid of its own.'],
  onlyGid0: ({ allow }) => [
    `only ${allow.join(', ')} have the primary group 0`,
    'Give the other account another primary group.',
  ],
  groupExists: ({ group, gid }) => [`the group ${group} has gid ${gid}`, `groupadd -g ${gid} ${group}.`],
  groupEmpty: ({ group }) => [`the group ${group} has no members`, `gpasswd -d USER ${group} for each of them.`],
  noEmptyPassword: () => ['no password is empty', 'passwd -l USER, or give it a password.'],
  allShadowed: () => ['no password hash in /etc/passwd', 'pwconv.'],
  rootPasswordOrLocked: () => ['root has a password, or is locked', 'passwd root, or passwd -l root.'],
  hashMethods: ({ allow }) => [
    `hashes begin with ${allow.join(' or ')}`,
    'Set ENCRYPT_METHOD YESCRYPT in /etc/login.defs, and have the user change the password.',
  ],
  uniqueUid: () => [
    'no uid is used twice',
    'Give one of the accounts a unique uid, and change the owner of its files.',
  ],
  uniqueGid: () => ['no gid is used twice', 'Give one of the groups a unique gid, and change the group of its files.'],
  uniqueUserName: () => ['no user name is used twice', 'Remove the second line from /etc/passwd.'],
  uniqueGroupName: () => ['no group name is used twice', 'Remove the second line from /etc/group.'],
  primaryGroupsExist: () => [
    'every primary group is in /etc/group',
    'Create the group, or give the user another primary group.',
  ],
  noPlusEntries: ({ file }) => [`no line of /etc/${file} begins with +`, `Remove the line from /etc/${file}.`],
  systemAccountsNoShell: ({ except }) => [
    `system accounts but ${except.join(', ')} have no shell`,
    'usermod -s /usr/sbin/nologin USER.',
  ],
  noShellAccountsLocked: ({ except }) => [
    `accounts without a shell are locked, but ${except.join(', ')}`,
    'passwd -l USER.',
  ],
  maxAge: ({ most }) => [`passwords expire within ${most} days`, `chage -M ${most} USER.`],
  minAge: ({ least }) => [`passwords are kept for at least ${least} day`, `chage -m ${least} USER.`],
  inactive: ({ most }) => [`accounts are locked ${most} days after their password expired`, `chage -I ${most} USER.`],
  lastChangePast: () => [
    'no password was changed in the future',
    'Set the clock, and have the user change the password.',
  ],
  absentUsers: ({ users }) => [`login as ${users.join(', ')} is not possible`, 'userdel USER, or passwd -l USER.'],
  homeExists: () => ['every home exists', 'mkhomedir_helper USER, or give the user another home.'],
  homeOwned: () => ['every home belongs to its user', 'chown USER HOME.'],
  homeMode: ({ modeMax }) => [`homes have at most ${modeMax}`, `chmod ${modeMax} HOME, or less.`],
  dotFilesMode: ({ modeForbid }) => [`dot files have no bit of ${modeForbid}`, 'chmod go-w FILE.'],
  dotFilesOwner: () => ['dot files belong to their user', 'chown USER FILE.'],
  homeFileAbsent: ({ name }) => [`no home has ${name}`, `Remove ${name}.`],
  homeFileMode: ({ paths, modeForbid, privateForbid }) => [
    `${paths.join(', ')} have no bit of ${modeForbid}, private keys none of ${privateForbid}`,
    'chmod go-w FILE, and chmod 0600 for private keys.',
  ],
  rootPath: ({ modeForbid }) => [
    `folders in root's PATH are absolute and root's, as those above; without a bit of ${modeForbid}`,
    'Remove the folder from PATH, or chown root FOLDER and chmod go-w FOLDER.',
  ],
};

const wordsOf = (of: Params) => (WORDS[of.check] as (of: Params) => readonly [string, string])(of);

/**
 * Accounts in passwd, group and shadow, and the homes of those who can log in. Reports names and line numbers, never a hash.
 */
export const accounts = primitive({
  name: 'accounts',
  summary: 'Entries of /etc/passwd, /etc/group and /etc/shadow, and home folders of users who can log in.',
  params,
  expected: (of) => wordsOf(of)[0],
  remedy: (of) => wordsOf(of)[1],

  evaluate(of, system) {
    if (of.check === 'rootPath') return evaluateRootPath(of.modeForbid, system);
    return isOfHomes(of) ? evaluateHomes(of, system) : evaluateEntries(of, system);
  },
});

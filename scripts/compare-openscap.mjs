// Compares the hardening rules with OpenSCAP's answers about the same trees, and writes src/baseline/openscap.md.
//
//   node scripts/compare-openscap.mjs TREE… [--content /usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml]
//
// Needs Debian's openscap-scanner and ssg-debian, trees as of test/baseline/trees/build.sh, and a build. The content's
// conditions on platforms are taken out, since a tree of another release, or one without a kernel, would answer nothing;
// its rules that walk the file systems take minutes each and are left out.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TOP = fileURLToPath(new URL('..', import.meta.url));
const PAGE = 'src/baseline/openscap.md';
const PREFIX = 'xccdf_org.ssgproject.content_rule_';

/** Why the two say otherwise: the first pattern that fits a rule's id. */
const REASONS = [
  [/^sshd\.usepam$/, 'UsePAM no stands in a drop-in, which sshd reads first; theirs reads sshd_config only'],
  [
    /^sshd\.(banner|clientaliveinterval|logingracetime|maxauthtries|permitrootlogin)$/,
    'set in a drop-in, /etc/ssh/sshd_config.d; theirs reads sshd_config only',
  ],
  [/^sshd\.protocol$/, 'theirs wants the line "Protocol 2"; sshd has known no other since OpenSSH 7.6'],
  [/^sshd\./, 'not set, and right by default in this version of sshd; theirs wants the line'],
  [/^sysctl\./, 'theirs asks the running kernel as well, and a tree has none'],
  [/^audit\.immutable$/, 'theirs wants auditd.service to run augenrules; in Debian 13 audit-rules.service does'],
  [
    /^audit\.modules$/,
    'as for audit.immutable; besides, theirs wants rules for 32-bit calls and a key, which ours does not ask for',
  ],
  [/^audit\.sudoers$/, 'as for audit.immutable; besides, theirs wants a slash behind /etc/sudoers.d'],
  [/^acct\.gid0-only-root$/, 'another fact: theirs asks whether root has the group 0, ours whether only root has'],
  [/^acct\.root-path-clean$/, "theirs judges the scanner's own PATH, not what a login of the tree gets"],
  [/^acct\.shadowed$/, 'an empty password is no hash in /etc/passwd; ours tells of it by acct.no-empty-passwords'],
  [/^acct\.dotfiles-owner$/, "the file is root's; ours takes root for nobody foreign, theirs wants the user"],
  [/^cfg\.auditd-space-left$/, 'theirs wants "email"; ours takes whatever alerts, syslog too'],
  [/^cfg\.encrypt-method$/, 'theirs wants SHA512; yescrypt, the default of Debian, is the stronger one'],
  [/^cfg\.shell-tmout$/, 'theirs wants "typeset -xr" or "declare -xr", and 600 s; ours takes readonly too, and 900 s'],
  [
    /^cfg\.shell-umask$/,
    'theirs wants a line that sets it; ours that none loosens what login.defs sets (another rule)',
  ],
  [/^file\.(audit-config|bin-dirs)$/, 'theirs judges the owner only; the mode is wrong'],
  [/^mount\./, 'theirs asks what is mounted now; of a tree, ours reads what fstab will mount'],
  [
    /^pam\.faillock/,
    'theirs wants the whole stack of pam_faillock besides, and other values (3 tries); ours has another rule for the stack',
  ],
  [/^pam\.pwquality-minlen$/, 'theirs wants 15, ours 14'],
  [/^svc\.firewall-enabled$/, 'theirs wants ufw; ours takes nftables.service and others'],
  [
    /^svc\.logrotate-enabled$/,
    'theirs wants "daily" in logrotate.conf and the job of cron; ours takes the daily timer',
  ],
];

const { values, positionals: trees } = parseArgs({
  allowPositionals: true,
  options: { content: { type: 'string', default: '/usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml' } },
});

const content = readFileSync(values.content, 'utf8').replace(/<xccdf-1\.2:platform idref="[^"]*"\/>/g, '');
const known = new Set([...content.matchAll(/<xccdf-1\.2:Rule [^>]*id="([^"]+)"/g)].map(([, id]) => id));

const folder = join(TOP, 'config/baseline');
const rules = readdirSync(folder)
  .filter((file) => file.endsWith('.json') && file !== 'rule-set.json')
  .flatMap((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')).rules)
  .filter(({ primitive }) => primitive !== 'fswalk');
const mapped = new Map(
  rules.map(({ id, source }) => [id, (source?.ssg ?? []).filter((name) => known.has(PREFIX + name))]),
);
const asked = [...new Set([...mapped.values()].flat())].sort();

/** A reason without the name that it is about. */
const generally = (reason) =>
  reason
    .replace(/^no file sets \S+,/, 'no file sets the parameter,')
    .replace(/does not name \S+,/, 'does not name the folder,')
    .replace(/^there is no .*/, 'what the rule is about is not installed');

/** What OpenSCAP says of each of the rules, by its name. */
function openscap(tree, scratch) {
  const results = join(scratch, 'results.xml');
  const stream = join(scratch, 'content.xml');
  writeFileSync(stream, content);
  const only = asked.flatMap((name) => ['--rule', PREFIX + name]);
  spawnSync('oscap', ['xccdf', 'eval', '--profile', '(all)', ...only, '--results', results, stream], {
    env: { ...process.env, OSCAP_PROBE_ROOT: tree },
    stdio: 'ignore',
  });
  const found = readFileSync(results, 'utf8').matchAll(
    /<rule-result [^>]*idref="([^"]+)"(?:(?!<\/rule-result>)[\s\S])*?<result>(\w+)/g,
  );
  return new Map([...found].map(([, id, result]) => [id.slice(PREFIX.length), result]));
}

function vakt(tree) {
  const args = ['dist/src/main.js', 'baseline', '--root', tree, '--level', '2', '--fail-on', 'never', '--json'];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: TOP, encoding: 'utf8', maxBuffer: 2 ** 26 }));
}

const scratch = mkdtempSync(join(tmpdir(), 'vakt-openscap-'));
const rows = [];
const disagreements = new Map();
const skips = new Map();
for (const tree of trees) {
  const theirs = openscap(tree, scratch);
  const counts = { both: 0, neither: 0, softer: 0, harder: 0, skipped: 0 };
  for (const { rule, result, actual, reason } of vakt(tree).outcomes) {
    const answers = (mapped.get(rule) ?? [])
      .map((name) => theirs.get(name))
      .filter((a) => a === 'pass' || a === 'fail');
    if (answers.length === 0) continue;
    const their = answers.includes('fail') ? 'fail' : 'pass';
    if (result !== 'pass' && result !== 'fail') {
      counts.skipped += 1;
      const why = generally(reason ?? result);
      skips.set(why, (skips.get(why) ?? 0) + 1);
    } else if (result === their) counts[result === 'pass' ? 'both' : 'neither'] += 1;
    else {
      counts[result === 'pass' ? 'softer' : 'harder'] += 1;
      const before = disagreements.get(rule) ?? [];
      disagreements.set(rule, [...before, { tree: basename(tree), result, their, actual }]);
    }
  }
  rows.push({ tree: basename(tree), ...counts });
}
rmSync(scratch, { recursive: true });

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own, see there
const FORMAT = '${Version}';
const versionOf = (name) => execFileSync('dpkg-query', ['-W', '-f', FORMAT, name], { encoding: 'utf8' });
const escaped = (text) => text.replaceAll('|', '\\|');
const line = (cells) => `| ${cells.map((cell) => escaped(String(cell))).join(' | ')} |`;
const disagreeing = [...disagreements].sort(([a], [b]) => a.localeCompare(b));
const unexplained = disagreeing.filter(([rule]) => !REASONS.some(([pattern]) => pattern.test(rule)));
const page = `# Beside OpenSCAP

What Vakt's hardening rules and ComplianceAsCode's content for OpenSCAP say of the same three Debian 13 trees, made by
\`test/baseline/trees/build.sh\`: as debootstrap leaves it, weakened, and hardened. Made by \`scripts/compare-openscap.mjs\`
with openscap-scanner ${versionOf('openscap-scanner')} and ssg-debian ${versionOf('ssg-debian')} (its content for Debian 12, the latest in it), all of its rules that
a rule of ours names as its source and that walk no file systems: ${asked.length} of theirs, ${[...mapped.values()].filter((names) => names.length > 0).length} of ours. Where one rule of
ours stands for several of theirs, one that fails is enough to fail.

${line(['tree', 'both pass', 'both fail', 'ours passes, theirs fails', 'ours fails, theirs passes', 'ours does not judge'])}
| --- | --- | --- | --- | --- | --- |
${rows.map(({ tree, both, neither, softer, harder, skipped }) => line([tree, both, neither, softer, harder, skipped])).join('\n')}

## Why they disagree

${line(['rule', 'tree', 'ours', 'theirs', 'ours found', 'since'])}
| --- | --- | --- | --- | --- | --- |
${disagreeing
  .map(([rule, [first, ...others]]) =>
    line([
      `\`${rule}\``,
      [first, ...others].map(({ tree }) => tree).join(', '),
      first.result,
      first.their,
      first.actual ?? '',
      REASONS.find(([pattern]) => pattern.test(rule))?.[1] ?? '',
    ]),
  )
  .join('\n')}

## What ours does not judge

Theirs mostly calls it a failure. Of all three trees together:

${line(['reason', 'rules'])}
| --- | --- |
${[...skips]
  .sort(([, a], [, b]) => b - a)
  .map(([why, count]) => line([why, count]))
  .join('\n')}
`;
writeFileSync(join(TOP, PAGE), page);
for (const [rule, found] of unexplained) console.error(`not explained: ${rule} ${JSON.stringify(found)}`);
process.exitCode = unexplained.length > 0 ? 1 : 0;

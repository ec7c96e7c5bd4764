// Compares results of the hardening rules with OpenSCAP's on the same trees, and writes src/agent/baseline/openscap.md.
//
//   node scripts/compare-openscap.mjs TREE… [--content /usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml]
//
// Needs Debian's openscap-scanner and ssg-debian, trees from test/agent/baseline/trees/build.sh, and a build. Platform
// conditions are removed from the content, since OpenSCAP would skip all rules for a tree of another release, or
// without a kernel. Rules that walk the file systems are left out, since they take minutes each.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TOP = fileURLToPath(new URL('..', import.meta.url));
const PAGE = 'src/agent/baseline/openscap.md';
const PREFIX = 'xccdf_org.ssgproject.content_rule_';

/** Why the results differ, by a pattern of the rule's id; the first match counts. */
const REASONS = [
  [/^sshd\.usepam$/, 'UsePAM no is in a drop-in, which sshd reads first; OpenSCAP reads sshd_config only'],
  [
    /^sshd\.(banner|clientaliveinterval|logingracetime|maxauthtries|permitrootlogin)$/,
    'set in a drop-in, /etc/ssh/sshd_config.d; OpenSCAP reads sshd_config only',
  ],
  [/^sshd\.protocol$/, 'OpenSCAP requires the line "Protocol 2"; sshd has had no other protocol since OpenSSH 7.6'],
  [/^sshd\./, 'not set, and right by default in this version of sshd; OpenSCAP requires the line'],
  [/^sysctl\./, 'OpenSCAP checks the running kernel as well, and a tree has none'],
  [/^audit\.immutable$/, 'OpenSCAP requires auditd.service to run augenrules; in Debian 13 audit-rules.service does'],
  [/^audit\.modules$/, 'as for audit.immutable; OpenSCAP also requires rules for 32-bit calls and a key'],
  [/^audit\.sudoers$/, 'as for audit.immutable; OpenSCAP also requires a slash at the end of /etc/sudoers.d'],
  [/^acct\.gid0-only-root$/, 'different facts: OpenSCAP checks that root has group 0, Vakt that only root has it'],
  [/^acct\.root-path-clean$/, "OpenSCAP checks the scanner's own PATH, not that of a login in the tree"],
  [/^acct\.shadowed$/, 'an empty password is not a hash in /etc/passwd; Vakt reports it by acct.no-empty-passwords'],
  [/^acct\.dotfiles-owner$/, 'the file belongs to root, which Vakt accepts; OpenSCAP requires the user'],
  [/^cfg\.auditd-space-left$/, 'OpenSCAP requires "email"; Vakt accepts every action that alerts, also syslog'],
  [/^cfg\.encrypt-method$/, 'OpenSCAP requires SHA512; yescrypt, the default of Debian, is stronger'],
  [
    /^cfg\.shell-tmout$/,
    'OpenSCAP requires "typeset -xr" or "declare -xr", and 600 s; Vakt accepts readonly as well, and 900 s',
  ],
  [
    /^cfg\.shell-umask$/,
    'OpenSCAP requires a line that sets it; Vakt that no line loosens what login.defs sets (another rule)',
  ],
  [/^file\.(audit-config|bin-dirs)$/, 'OpenSCAP checks the owner only; the mode is wrong'],
  [/^mount\./, 'OpenSCAP checks what is mounted now; of a tree, Vakt reads what fstab will mount'],
  [
    /^pam\.faillock/,
    'OpenSCAP also requires the whole stack of pam_faillock, and other values (3 tries); Vakt has another rule for the stack',
  ],
  [/^pam\.pwquality-minlen$/, 'OpenSCAP requires 15, Vakt 14'],
  [/^svc\.firewall-enabled$/, 'OpenSCAP requires ufw; Vakt accepts nftables.service and others'],
  [
    /^svc\.logrotate-enabled$/,
    'OpenSCAP requires "daily" in logrotate.conf and the cron job; Vakt accepts the daily timer',
  ],
];

const { values, positionals: trees } = parseArgs({
  allowPositionals: true,
  options: { content: { type: 'string', default: '/usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml' } },
});

const content = readFileSync(values.content, 'utf8').replace(/<xccdf-1\.2:platform idref="[^"]*"\/>/g, '');
const known = new Set([...content.matchAll(/<xccdf-1\.2:Rule [^>]*id="([^"]+)"/g)].map(([, id]) => id));

const { rules: allRules } = JSON.parse(readFileSync(join(TOP, 'config/baseline/rules.json'), 'utf8'));
const rules = allRules.filter(({ primitive }) => primitive !== 'fswalk');
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

/** OpenSCAP's result for each rule, by name. */
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
  const openscapResults = openscap(tree, scratch);
  const counts = { both: 0, neither: 0, softer: 0, harder: 0, skipped: 0 };
  for (const { rule, result, actual, reason } of vakt(tree).outcomes) {
    const answers = (mapped.get(rule) ?? [])
      .map((name) => openscapResults.get(name))
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
const byReason = new Map();
for (const [rule, found] of [...disagreements].sort(([a], [b]) => a.localeCompare(b))) {
  const reason = REASONS.find(([pattern]) => pattern.test(rule))?.[1] ?? 'not explained';
  const results = `Vakt: ${found[0].result}, OpenSCAP: ${found[0].their}`;
  const where = [found.map(({ tree }) => tree).join(', '), found[0].actual].filter(Boolean).join('; ');
  const group = byReason.get(`${results}. ${reason}`) ?? [];
  byReason.set(`${results}. ${reason}`, [...group, `  - \`${rule}\` (${where})`]);
}
const page = `<!-- Generated by \`node scripts/compare-openscap.mjs\`; changes made here are lost. -->

# Comparison with OpenSCAP

Results of Vakt's hardening rules and of ComplianceAsCode's content for OpenSCAP on the same three Debian 13 trees, built by
\`test/agent/baseline/trees/build.sh\`: as debootstrap leaves it, weakened, and hardened. Tools:
openscap-scanner ${versionOf('openscap-scanner')} and ssg-debian ${versionOf('ssg-debian')} (its content for Debian 12, the latest in it). Compared are all
of its rules that a rule of Vakt's names as its source and that do not walk file systems: ${asked.length} of OpenSCAP's, ${[...mapped.values()].filter((names) => names.length > 0).length} of
Vakt's. Where one rule of Vakt's stands for several of OpenSCAP's, one that fails counts as a failure.

${line(['tree', 'both pass', 'both fail', 'Vakt passes, OpenSCAP fails', 'Vakt fails, OpenSCAP passes', 'Vakt does not evaluate'])}
| --- | --- | --- | --- | --- | --- |
${rows.map(({ tree, both, neither, softer, harder, skipped }) => line([tree, both, neither, softer, harder, skipped])).join('\n')}

## Disagreements

By reason, with the trees and what Vakt found:

${[...byReason].map(([reason, found]) => `- ${reason}\n${found.join('\n')}`).join('\n')}

## Rules that Vakt does not evaluate

OpenSCAP mostly reports a failure. Counted over all three trees:

${line(['reason', 'rules'])}
| --- | --- |
${[...skips]
  .sort(([, a], [, b]) => b - a)
  .map(([why, count]) => line([why, count]))
  .join('\n')}
`;
writeFileSync(join(TOP, PAGE), page);
const unexplained = [...byReason].filter(([reason]) => reason.endsWith('. not explained'));
for (const [, found] of unexplained) console.error(`not explained:\n${found.join('\n')}`);
process.exitCode = unexplained.length > 0 ? 1 : 0;

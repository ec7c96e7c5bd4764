import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { run, usage } from '../../../../src/agent/commands/baseline.ts';
import { UsageError, type World } from '../../../../src/core/command-line/command.ts';
import type { CheckOutcome } from '../../../../src/core/contract/baseline.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';
import { worldOf } from '../world.ts';

const CUSTOM = {
  rules: [
    {
      id: 'custom.release',
      category: 'iot',
      severity: 'Warning',
      level: 1,
      title: 'The image says its release',
      primitive: 'file',
      params: { must: 'exist', paths: ['/etc/release'] },
      appliesTo: { container: true },
    },
  ],
};

describe('vakt baseline', () => {
  let folder: string;
  let root: string;
  let out: string[];
  let errors: string[];
  let world: World;

  beforeEach(() => {
    folder = temporaryFolder();
    root = join(folder, 'root');
    mkdirSync(join(root, 'etc'), { recursive: true });
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n', 0o644);
    file('etc/group', 'root:x:0:\n', 0o644);
    out = [];
    errors = [];
    world = worldOf((line) => out.push(line), { stderr: (line) => errors.push(line) });
  });

  const file = (path: string, text: string, mode: number) => {
    writeFileSync(join(root, path), text);
    chmodSync(join(root, path), mode);
  };
  /** A Critical rule that depends on the mode of /etc/passwd. The user that runs the tests owns the file. */
  const RULE = 'file.etc-passwd';
  const scan = (...args: string[]) => run(['--root', root, ...args], world);
  const needsRoot = (context: Mocha.Context) => {
    if (process.getuid?.() !== 0) skip(context, 'files of the tree have to belong to root');
  };

  it('baseline prints the found and expected state, the path, the fix and the id of a failed rule', async function () {
    needsRoot(this);
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n', 0o666);
    assert.equal(await scan(RULE), 1);
    assert.deepEqual(out.slice(0, 7), [
      'FAIL  Critical  /etc/passwd is root-owned and at most 0644',
      '    found     file 0666 root:root',
      '    expected  file, at most 0644, owner root, group root',
      '    where     /etc/passwd',
      '    fix       For /etc/passwd: chown root, chgrp root, chmod 0644, or less.',
      '    rule      file.etc-passwd',
      '',
    ]);
    const rest = out.slice(7).join('\n');
    assert.match(rest, /^1 of 1 rules failed: 1 Critical\.\n0 passed, 0 could not be evaluated, 0 were skipped\./);
    assert.ok(rest.includes(`Checked ${root} in `));
    assert.match(rest, /not a running system/);
  });

  it('baseline prints a short summary if all rules pass', async function () {
    needsRoot(this);
    assert.equal(await scan(RULE), 0);
    assert.match(out[0] ?? '', /^0 of 1 rules failed\.$/);
  });

  it('baseline lists passed and skipped rules with --all', async function () {
    needsRoot(this);
    await scan('--all');
    assert.ok(out.some((line) => /^Pass +Critical +file\.etc-passwd +\/etc\/passwd is root-owned/.test(line)));
    assert.ok(out.some((line) => /^Skipped +\w+ +\S+ +.*\(level 2, which is not asked for\)$/.test(line)));
  });

  it('baseline applies --level, --role and --except, and reports why it skips a rule', async () => {
    await scan('--json');
    const one = JSON.parse(out.join('')).outcomes as CheckOutcome[];
    out = [];
    await scan('--json', '--level', '2', '--role', 'router,web', '--role', 'mail', '--except', 'ssh', '--except', RULE);
    const report = JSON.parse(out.join(''));
    const two = report.outcomes as CheckOutcome[];
    assert.equal(one.length, two.length);
    const skipped = (all: readonly CheckOutcome[], reason: RegExp) =>
      all.filter((each) => reason.test(each.reason ?? '')).length;
    assert.ok(skipped(one, /^level 2/) > 50);
    assert.equal(skipped(two, /^level 2/), 0);
    assert.ok(skipped(two, /category ssh/) > 10);
    assert.equal(two.find(({ rule }) => rule === RULE)?.reason, 'excepted by the operator: the rule');
    assert.deepEqual(report.options, {
      level: 2,
      walk: false,
      roles: ['router', 'web', 'mail'],
      groupsDisabled: ['ssh'],
      checksDisabled: [RULE],
    });
    assert.equal(report.subject, root);
  });

  describe('--fail-on', () => {
    beforeEach(function () {
      needsRoot(this);
      file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n', 0o666);
    });

    for (const [severity, status] of [
      ['Critical', 1],
      ['important', 1],
      ['INFORMATIONAL', 1],
      ['never', 0],
    ] as const) {
      it(`baseline --fail-on ${severity} exits with ${status} if a Critical rule fails`, async () =>
        assert.equal(await scan('--fail-on', severity, RULE), status));
    }

    it('baseline exits with 0 if only rules below Important fail, unless --fail-on names their severity', async () => {
      const warnings = ['file.motd', 'file.issue'];
      mkdirSync(join(root, 'etc/motd')); // no file
      await scan('--json', ...warnings);
      const { outcomes } = JSON.parse(out.join('')) as { outcomes: CheckOutcome[] };
      const failing = outcomes.filter(({ result }) => result === 'fail');
      assert.ok(
        failing.length > 0 && failing.every(({ severity }) => severity === 'Warning' || severity === 'Informational'),
        JSON.stringify(outcomes),
      );
      assert.equal(await scan(...warnings), 0);
      assert.equal(await scan('--fail-on', 'Informational', ...warnings), 1);
    });

    it('baseline exits with 1 if a rule of the --fail-on severity could not be evaluated', async () => {
      rmSync(join(root, 'etc/passwd'));
      mkdirSync(join(root, 'etc/passwd'));
      await scan('--json', 'acct.gid0-only-root');
      const [outcome] = (JSON.parse(out.join('')) as { outcomes: CheckOutcome[] }).outcomes;
      assert.equal(outcome?.result, 'err', JSON.stringify(outcome));
      assert.equal(await scan('--fail-on', outcome?.severity ?? '', 'acct.gid0-only-root'), 1);
    });
  });

  const unwritable = (code: string) => ({
    id: 'RESULT_UNWRITABLE',
    message: new RegExp(`cannot be written: ${code}$`),
  });

  it('baseline leaves no partial page if the disk is full', async function () {
    if (process.getuid?.() !== 0) return skip(this, 'mounting takes root');
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk]);
    try {
      writeFileSync(join(disk, 'other'), 'x'.repeat(4096));
      await assert.rejects(scan('--html', join(disk, 'report.html'), RULE), unwritable('ENOSPC'));
      assert.deepEqual(readdirSync(disk), ['other']);
    } finally {
      execFileSync('umount', ['--lazy', disk]);
    }
  });

  it('baseline --html writes a page in addition to the output, and rejects on a write error', async () => {
    const page = join(folder, 'report.html');
    await scan('--html', page, '--fail-on', 'never', RULE);
    assert.match(readFileSync(page, 'utf8'), /^<!doctype html>[\s\S]*file\.etc-passwd/);
    assert.ok(out.length > 0);
    out = [];
    await assert.rejects(scan('--html', join(folder, 'nowhere', 'report.html'), RULE), unwritable('ENOENT'));
    await assert.rejects(scan('--html', '/dev/full', RULE), unwritable('ENOSPC'));
    assert.ok(statSync('/dev/full').isCharacterDevice(), 'the device was replaced');
    assert.deepEqual(out, []);
  });

  for (const option of ['--html', '--junit', '--sarif']) {
    it(`baseline rejects a symbolic link or a pipe as the file of ${option}`, async () => {
      const [target, link, pipe] = ['target', 'link', 'pipe'].map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ];
      writeFileSync(target, 'kept');
      symlinkSync(target, link);
      execFileSync('mkfifo', [pipe]);
      for (const path of [link, pipe])
        await assert.rejects(scan(option, path, RULE), { name: 'UsageError', message: /is not a regular file/ });
      assert.equal(readFileSync(target, 'utf8'), 'kept');
    });
  }

  it('baseline does not change other files in the folder of a report', async () => {
    writeFileSync(join(folder, 'report.html.new'), 'kept');
    await scan('--html', join(folder, 'report.html'), '--fail-on', 'never', RULE);
    assert.equal(readFileSync(join(folder, 'report.html.new'), 'utf8'), 'kept');
    assert.deepEqual(readdirSync(folder).sort(), ['report.html', 'report.html.new', 'root']);
  });

  it('baseline reports the error if it cannot access the path of --root or --html', async () => {
    const [closed, loop] = [join(folder, 'root/etc/passwd/x'), join(folder, 'loop')];
    symlinkSync(loop, loop);
    await assert.rejects(run(['--root', loop], world), { name: 'UsageError', message: /cannot be read: ELOOP/ });
    await assert.rejects(scan('--html', closed, RULE), unwritable('ENOTDIR'));
  });

  it('baseline --explain prints the severity, the expected state and the sources of a rule', async () => {
    assert.equal(await run(['--explain', RULE], world), 0);
    for (const said of [
      /^rule +file\.etc-passwd$/,
      /^severity +Critical, level 1$/,
      /^expects +file, at most 0644/,
      /^required by +CIS Debian 13 7\.1\.1/,
    ]) {
      assert.ok(
        out.some((line) => said.test(line)),
        String(said),
      );
    }
  });

  for (const columns of [80, 100, 120]) {
    it(`baseline prints lines of at most ${columns} columns`, async () => {
      world = { ...world, columns };
      await scan('--level', '2');
      await run(['--explain', 'sshd.macs'], world);
      assert.ok(out.length > 20);
      assert.deepEqual(
        out.filter((line) => line.length > columns),
        [],
      );
    });
  }

  describe('custom rules', () => {
    const custom = (rules: unknown) => {
      const path = join(folder, 'custom.json');
      writeFileSync(path, JSON.stringify(rules), { mode: 0o644 });
      return path;
    };

    it('baseline evaluates custom rules', async function () {
      needsRoot(this);
      assert.equal(await scan('--custom', custom(CUSTOM), '--fail-on', 'Warning', 'custom.release'), 1);
      assert.match(out[0] ?? '', /^FAIL {2}Warning {2}The image says its release$/);
      file('etc/release', '1', 0o644);
      assert.equal(await scan('--custom', custom(CUSTOM), '--fail-on', 'Warning', 'custom.release'), 0);
    });

    it('baseline exits with 1 if it rejects the custom rules, and still evaluates the other rules', async function () {
      needsRoot(this);
      assert.equal(await scan('--custom', custom({ rules: [{ id: 'x' }] }), '--fail-on', 'never'), 1);
      assert.match(errors.join(), /^The rules of --custom were not evaluated: .*custom\.json: rules\[0\]/);
      assert.ok(out.length > 3);
      errors = [];
      const path = custom(CUSTOM);
      chownSync(path, 65_534, 65_534);
      assert.equal(await scan('--custom', path, '--fail-on', 'never', 'custom.release'), 1);
      assert.match(errors.join(), /does not belong to root/);
    });

    it('baseline replaces control characters when it prints the path of the custom rules', async () => {
      const path = join(folder, '\u001b[2J.json');
      writeFileSync(path, '{}');
      assert.equal(await scan('--custom', path, RULE), 1);
      assert.match(errors.join('\n'), /^The rules of --custom were not evaluated: .*·\[2J\.json/);
    });
  });

  it('baseline evaluates the running system without --root', async () => {
    await run(['--json', 'sysctl.kernel.randomize_va_space'], world);
    const [outcome] = (JSON.parse(out.join('')) as { outcomes: CheckOutcome[] }).outcomes;
    assert.equal(outcome?.where ?? outcome?.reason, '/proc/sys/kernel/randomize_va_space');
  });

  for (const [what, args, message] of [
    [
      'an unknown rule',
      ['file.etc-passwort'],
      /no rule is called "file\.etc-passwort"; did you mean "file\.etc-passwd"\?/,
    ],
    ['an unknown role', ['--role', 'rooter'], /did you mean "router"\?/],
    ['a category instead of a role', ['--role', 'boot'], /no role is called "boot"; it is the name of a category$/],
    ['a category instead of a rule', ['boot'], /no rule is called "boot"; it is the name of a category$/],
    ['--explain with a category', ['--explain', 'boot'], /no rule is called "boot"; it is the name of a category$/],
    ['--except with an unknown name', ['--except', 'ss'], /called "ss"/],
    ['--explain with an unknown rule', ['--explain', 'x'], /called "x"/],
    ['--fail-on with an unknown severity', ['--fail-on', 'bad'], /--fail-on takes Critical, .* or never, not "bad"/],
    ['--level with an unknown level', ['--level', '3'], /--level takes 1 or 2/],
    [
      '--root with a path that is not a directory',
      ['--root', '/etc/passwd'],
      /--root: \/etc\/passwd is not a directory/,
    ],
    ['--custom with a missing file', ['--custom', '/nowhere'], /--custom: \/nowhere cannot be read: ENOENT/],
    [
      '--custom with a path that is not a file of rules',
      ['--custom', '/dev/null'],
      /--custom: \/dev\/null is not a file of rules/,
    ],
    ['an unknown option', ['--colour'], /colour/],
  ] as const) {
    it(`baseline rejects ${what}`, () =>
      assert.rejects(scan(...args), (error: Error) => error instanceof UsageError && message.test(error.message)));
  }

  it('the usage text of baseline explains its exit statuses', () =>
    assert.match(usage, /Exit status: 0 .*; 1 .*; 2 wrong usage\.$/s));
});

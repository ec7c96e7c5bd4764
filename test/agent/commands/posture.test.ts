import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../src/agent/commands/posture.ts';
import { RECOMMENDATION_IDS, RECOMMENDATIONS } from '../../../src/agent/posture/recommendation.ts';
import type { Posture } from '../../../src/agent/status/schema.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { worldOf } from './world.ts';

const SINCE = '2026-05-01T12:00:00.000Z';
const POSTURE: Posture = {
  exposure: { openPorts: 2, ports: '22/tcp (sshd), 53/udp' },
  firewall: { inbound: 'allow', forward: 'deny', outbound: 'unknown' },
  accounts: { uidZero: 1, humans: 2 },
  recommendations: {
    openPorts: { severity: 'Medium', count: 2, since: SINCE },
    secondRootAccount: { severity: 'High', count: 1, since: SINCE, reason: 'no \u001b[31mfile' },
    messagesUnder4KB: { severity: 'Low', count: 7, since: SINCE },
  },
  notJudged: { accountWithoutPassword: 'no shadow\u202e file' },
};

describe('vakt posture', () => {
  let folder: string;
  let close: (() => Promise<void>) | undefined;
  let out: string[];
  let world: World;

  beforeEach(() => {
    folder = temporaryFolder();
    const identity = { kind: 'connectionString', file: 'secret' };
    writeFileSync(join(folder, 'agent.json'), JSON.stringify({ identity, controlSocket: 'control.sock' }));
    out = [];
    world = worldOf((line) => out.push(line));
  });
  afterEach(async () => {
    await close?.();
    close = undefined;
  });

  const show = async (posture: Posture, ...args: string[]) => {
    close ??= await serveControlSocket(join(folder, 'control.sock'), { '/status': () => ({ posture }) });
    return run(['--config', join(folder, 'agent.json'), ...args], world);
  };

  it('posture lists recommendations by severity, then unassessed ones, then the facts', async () => {
    await show(POSTURE);
    const text = out.join('\n');
    for (const said of [
      /^HIGH {2}1 account besides root has user id 0\.\n {4}do {8}If it is not yours, remove it:/,
      /^ {4}since {5}2026-05-01T12:00:00\.000Z\n {4}but now {3}not assessed: no ·\[31mfile\n {4}id {8}secondRootAccount$/m,
      /^MEDIUM {2}2 ports can be reached from outside\.$/m,
      /^LOW {2}7 messages since the last snapshot/m,
      /^Not assessed:\n {2}accountWithoutPassword {2}no shadow<U\+202E> file$/m,
      /^open ports {2}22\/tcp \(sshd\), 53\/udp$/m,
      /^firewall {4}in allow, forward deny, out unknown; permissive rules: unknown$/m,
      /^accounts {4}2 of people, 1 with user id 0, passwords unknown$/m,
      /^baseline {4}unknown$/m,
      /^3 recommendations; by the running agent, \d{4}-/m,
    ])
      assert.match(text, said);
    assert.ok(text.indexOf('HIGH') < text.indexOf('MEDIUM') && text.indexOf('MEDIUM') < text.indexOf('LOW'), text);
    assert.ok(out.every((line) => line.length <= 100));
  });

  it('posture rejects an answer without a posture', async () => {
    close = await serveControlSocket(join(folder, 'control.sock'), { '/status': () => ({}) });
    await assert.rejects(run(['--config', join(folder, 'agent.json')], world), { id: 'AGENT_NOT_RUNNING' });
  });

  it('posture --json prints the posture without invisible characters', async () => {
    await show(POSTURE, '--json');
    const shown = JSON.parse(out.join('\n'));
    assert.deepEqual([shown.source, shown.posture], ['agent', POSTURE]);
    assert.ok(!out.join('\n').includes('\u202e'));
  });

  it('posture reports 0 recommendations for an empty posture', async () => {
    assert.equal(await show({ recommendations: {}, notJudged: {} }), 0);
    assert.match(out.at(-1) ?? '', /^0 recommendations; /);
  });

  const STATUS: readonly [args: readonly string[], posture: Posture, is: number][] = [
    [[], { recommendations: { secondRootAccount: { severity: 'High', count: 1, since: SINCE } } }, 1],
    [[], { recommendations: { openPorts: { severity: 'Medium', count: 1, since: SINCE } } }, 0],
    [['--fail-on', 'medium'], { recommendations: { openPorts: { severity: 'Medium', count: 1, since: SINCE } } }, 1],
    [
      ['--fail-on', 'Critical'],
      { recommendations: { secondRootAccount: { severity: 'High', count: 1, since: SINCE } } },
      0,
    ],
    [
      ['--fail-on', 'never'],
      { recommendations: { baselineFailed: { severity: 'Critical', count: 1, since: SINCE } } },
      0,
    ],
    [[], { notJudged: { accountWithoutPassword: 'x' } }, 1],
    [[], { notJudged: { openPorts: 'x', noKernelAudit: 'x', credentialExpires: 'x' } }, 0],
    [['--fail-on', 'Low'], { notJudged: { openPorts: 'x' } }, 1],
    [['--fail-on', 'Informational'], { notJudged: { noKernelAudit: 'x', messagesUnder4KB: 'x' } }, 0],
  ];
  for (const [args, posture, is] of STATUS)
    it(`posture exits with ${is} for ${JSON.stringify(posture)} and the options "${args.join(' ')}"`, async () =>
      assert.equal(await show(posture, ...args), is));

  it('posture names the valid severities if it rejects --fail-on', async () => {
    await assert.rejects(
      show(POSTURE, '--fail-on', 'hihg'),
      (error) => error instanceof UsageError && /Critical, High, .* not "hihg"; .*"High"/.test(error.message),
    );
  });

  it('every recommendation has a title in singular and plural, and a remedy', () => {
    for (const id of RECOMMENDATION_IDS) {
      const { title, remedy } = RECOMMENDATIONS[id];
      for (const count of [1, 2]) assert.match(title(count), /^\S.*[^.]$/, id);
      assert.match(remedy, /\.$/, id);
    }
  });
});

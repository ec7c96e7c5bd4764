import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Finding } from '../../src/agent/commands/check/finding.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { suiteFolder } from '../harness/folders.ts';
import { TOP } from '../harness/top.ts';
import { PROGRAM } from '../integration/test-bed.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { agentFiles, PREPARE } from '../system/agent-in-machine.ts';
import { missingForEmulation, runInMachine } from '../system/emulated-machine.ts';
import { buildNative } from '../system/under-filter.ts';
import { debianKernel } from './debian-kernel.ts';

const CONTAINER = '3c9f1e5ba7d24c8890aa6c0d3f7be2415d6d1f0c2b9a48e7a1c35fbb40d7e9f1';
const MEGABYTE = 1024 * 1024;

/** Events that are written to `/run/NAME`. */
const EVENTS = ['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate'];

/**
 * Uses control groups of version 1, as on such systems: one with limits for the agent, and one of a container. One of the
 * container's processes is older than the agent, which scans for containers without an engine only once per minute. No kernel
 * module can be loaded, as on a board whose kernel lacks them: neither inet_diag nor netfilter.
 */
const SCRIPT = `${PREPARE}
node="${[process.execPath, ...nodeFlagsOf(PROGRAM), PROGRAM].join(' ')}"
mount -t tmpfs tmpfs /sys/fs/cgroup
for each in memory pids; do mkdir /sys/fs/cgroup/$each; mount -t cgroup -o $each cgroup /sys/fs/cgroup/$each; mkdir /sys/fs/cgroup/$each/agent; done
echo ${200 * MEGABYTE} >/sys/fs/cgroup/memory/agent/memory.limit_in_bytes
echo 64 >/sys/fs/cgroup/pids/agent/pids.max
mkdir -p /sys/fs/cgroup/memory/docker/${CONTAINER}
in_container='echo $$ >/sys/fs/cgroup/memory/docker/${CONTAINER}/cgroup.procs'
sh -c "$in_container; exec sleep 1200" &

uname -r >/run/release
as_nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
$as_nobody $node check --json --config /nonexistent >/run/check-as-nobody 2>/run/error || true
sh -c 'for each in memory pids; do echo $$ >/sys/fs/cgroup/$each/agent/cgroup.procs; done; exec "$@"' sh \\
  $node run --config /run/agent.json >/run/agent.log 2>&1 & agent=$!
until_in '"source":"' /run/agent.log
${process.execPath} /run/ask.mjs & follow=$!
for event in ${EVENTS.join(' ')}; do until_in following /run/$event; done

sleep 60.5 & outside=$!
sh -c "$in_container; exec sleep 60.25" & inside=$!
until_in 'sleep 60.5"' /run/ProcessCreate
until_in 'sleep 60.25"' /run/ProcessCreate
kill -KILL $outside $inside
until_in "\\"ProcessId\\":$outside[,}]" /run/ProcessTerminate
/results/connections 1 0 tcp.v4 >/run/made
until_in connections /run/ConnectionCreate
# Waits for the first snapshots of ports and of the packet filter.
for i in $(seq 60); do
  kill -USR1 $follow; sleep 2
  if grep -q '"procNet"' /run/status && grep -q '"netlink"' /run/status; then break; fi
done
$node check --json --config /run/agent.json >/run/check 2>/run/error || true
kill $agent
wait $agent || true
lines() { sed 1d "$1" | paste -sd,; }
echo '{"release":"'$(cat /run/release)'","status":'; cat /run/status
echo ',"check":['; paste -sd, /run/check; echo '],"asNobody":['; paste -sd, /run/check-as-nobody
echo '],"starts":['; lines /run/ProcessCreate; echo '],"connections":['; lines /run/ConnectionCreate
echo ']}'
`;

interface Result {
  readonly release: string;
  readonly status: LocalStatus;
  readonly check: readonly Finding[];
  /** Findings for an ordinary user without a running agent. */
  readonly asNobody: readonly Finding[];
  readonly starts: readonly {
    readonly CommandLine: string;
    readonly ExtraDetails?: Readonly<Record<string, string>>;
  }[];
  readonly connections: readonly { readonly Executable: string; readonly Direction: string }[];
}

/** Findings that are printed in addition to those about sources. */
const OF_SYSTEM = ['audit', 'memory', 'tasks'];
const SUITES = (process.env.VAKT_SUITES ?? 'bullseye bookworm').split(' ');

for (const suite of SUITES) {
  describe(`The agent on the kernel of ${suite}`, function () {
    this.timeout(1_500_000);
    let result: Result;

    before(() => {
      const kernel = debianKernel(suite, join(TOP, 'build/kernels'));
      const missing = missingForEmulation(kernel);
      if (missing !== undefined) throw new Error(missing);
      const connections = buildNative('connections', suiteFolder(), '-static');
      const files = agentFiles(EVENTS, { detections: { enabled: false } });
      // On a loaded machine, the emulated clock looks broken to these kernels, which then panic.
      const kernelArguments = ['no_timer_check'];
      result = JSON.parse(
        runInMachine({ kernel, kernelArguments, script: SCRIPT, files, programs: [connections], seconds: 1_200 }),
      ) as Result;
      process.stdout.write(`    Linux ${result.release}\n`);
      const findings = result.check.filter(
        ({ check }) => check in result.status.collectors || OF_SYSTEM.includes(check),
      );
      for (const { check, finding, remedy = '' } of findings)
        process.stdout.write(`      ${check}: ${finding} ${remedy}\n`);
    });

    const collector = (name: string) => result.status.collectors[name] ?? assert.fail(name);
    const finding = (name: string, among = result.check) =>
      among.find(({ check }) => check === name) ?? assert.fail(name);

    it('reads starts, connections and logins from audit, without rules that this kernel does not support', () => {
      for (const name of ['ProcessCreate', 'ConnectionCreate', 'Login']) {
        assert.deepEqual(
          [collector(name).state, collector(name).source],
          ['on', 'auditUnicast'],
          collector(name).reason,
        );
      }
      assert.match(finding('audit').finding, /^on, the agent is its daemon, (\d+) rules \(\1 of them the agent's\)/);
    });

    it('reads exits of processes from the process connector', () => {
      const { state, source } = collector('ProcessTerminate');
      assert.deepEqual([state, source], ['on', 'procConnector']);
    });

    it('lists ports from /proc/net and reports degraded if the kernel has no inet_diag', () => {
      const { state, source, reason = '' } = collector('ListeningPorts');
      assert.deepEqual([state, source], ['degraded', 'procNet']);
      assert.match(reason, /inet_diag|EPROTONOSUPPORT/);
      assert.equal(finding('ListeningPorts').remedy, reason);
    });

    it('reports an empty packet filter if the kernel has no netfilter', () => {
      const { state, source } = collector('FirewallConfiguration');
      assert.deepEqual([state, source], ['on', 'netlink']);
    });

    it('reads the limits of control groups of version 1', () => {
      assert.equal(finding('memory').finding, 'the budget is 96 MB, of 200 MB');
      assert.equal(finding('tasks').finding, '64 allowed');
    });

    it('reports the container of a process by control groups of version 1', () => {
      const containerOf = (command: string) =>
        result.starts.find(({ CommandLine }) => CommandLine === command)?.ExtraDetails?.ContainerId;
      assert.deepEqual([containerOf('sleep 60.25'), containerOf('sleep 60.5')], [CONTAINER, undefined]);
    });

    it('reports outbound and inbound connections', () => {
      const loopback = result.connections.filter(({ Executable }) => Executable === '/results/connections');
      assert.deepEqual(loopback.map(({ Direction }) => Direction).sort(), ['In', 'Out']);
    });

    it('names CAP_NET_ADMIN to an ordinary user as a requirement of the process connector', () => {
      const { finding: state, remedy } = finding('ProcessTerminate', result.asNobody);
      assert.equal(state, 'unavailable');
      assert.match(remedy ?? '', /Grant CAP_NET_ADMIN, which kernels before 6\.6 require\./);
    });
  });
}

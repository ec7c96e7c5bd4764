import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

const SOURCES = new URL('../../src/', import.meta.url);
/** Sources that are not part of the running agent. */
const COMMANDS = /^(?:agent\/commands|core\/command-line|emulator|fleet)\//;

/** Each timer of the running agent: its interval, or until or during what it runs, and the reason. */
const TIMERS: readonly (readonly [file: string, use: string])[] = [
  // Regular, even when idle
  [
    'agent/linux/native/netlink/drain-pause.ts',
    '2 s; 500 to 50 ms under load: reads the audit and process connector sockets; a signal for a new datagram ends the 2 s early',
  ],
  ['agent/pipeline/memory-limit.ts', '2 s: enforces the memory budget; releases unused memory'],
  ['agent/hub/credential-watch.ts', '2 s: expiresSoon of the credential also changes when the wall clock is set'],
  [
    'agent/pipeline/source-watch.ts',
    '4 s, up to 5 min where listing costs more: detects new ports, accounts, devices and firewall rules between snapshots',
  ],
  [
    'agent/linux/audit/audit-source.ts',
    '5 s, rules 30 s: detects audit changes by other processes, in step with drain-pause.ts; short sleeps at exit',
  ],
  [
    'agent/linux/audit/audit-drain.ts',
    '5 s, rules 30 s: detects audit changes by other processes, in step with drain-pause.ts; short sleeps at exit',
  ],
  [
    'agent/lifeline.ts',
    "10 s, or a quarter of the watchdog's limit if that is shorter: watchdog; systemd's status line",
  ],
  ['agent/hub/file-watch.ts', '10 s: notices renewed keys and certificates'],
  ['agent/pipeline/unset-clock.ts', '10 s: notices that the clock was set'],
  [
    'agent/hub/supervisor.ts',
    '30 s while connected; 5 s between attempts: detects a dead connection; renews the credential',
  ],
  [
    'agent/hub/session.ts',
    'MQTT.js: 45 s without a packet sent, while connected: keep-alive: the hub closes a connection after 1.5 times this silence',
  ],
  ['agent/linux/streams/supervisor.ts', '1 min: tries unavailable and better sources'],
  [
    'agent/linux/processes/exits.ts',
    '1 min, in step with drain-pause.ts: finds processes whose exit was not reported; short sleep at exit',
  ],
  ['agent/detections/rule-loader.ts', '1 min: reloads changed own rules'],
  ['agent/pipeline/statistics.ts', '1 min: retries a failed save'],
  ['agent/detections/detections.ts', '5 min: detects collectors that stopped sending events'],
  ['agent/linux/self/exposed-files.ts', '1 h: detects secrets that other users can read'],
  [
    'agent/hub/twin-sync.ts',
    '1 d; 1 s after a change; up to 6 min after an outage of the hub: reports changes, grouped within 1 s; jitter so that a fleet does not report at once',
  ],
  // Until something is due
  ['agent/pipeline/publisher.ts', 'the next message'],
  ['agent/pipeline/aggregator.ts', 'the end of the next window'],
  ['agent/pipeline/queue.ts', 'the next segment expires'],
  ['agent/pipeline/snapshots.ts', 'the next round or attempt'],
  ['agent/pipeline/notices.ts', 'the next notice or fault report'],
  ['agent/config/fault-reports.ts', 'the next notice or fault report'],
  ['agent/pipeline/pause.ts', 'the end of a pause or log level, checked once a minute'],
  ['core/base/temporary-log-level.ts', 'the end of a pause or log level, checked once a minute'],
  ['agent/status/reported.ts', 'the next report'],
  ['agent/posture/posture-updates.ts', 'the next update of the posture that its limit permits'],
  ['agent/detections/alerts/alert-times.ts', 'the next alert update; the next save'],
  ['agent/detections/alerts/saved-state.ts', 'the next alert update; the next save'],
  // Only without a better source
  [
    'agent/linux/audit/audit-log-source.ts',
    "500 ms; 50 ms while probing after a minute without records: auditd's log is the source",
  ],
  ['agent/linux/logins/login-files.ts', '1 s: wtmp, btmp or wtmp.db is the source'],
  [
    'agent/linux/processes/process-connector.ts',
    '10 to 50 ms: starts come from the process connector: /proc must be read before the process exits',
  ],
  ['agent/linux/processes/process-polling.ts', '1 s to 1 min: starts come from /proc'],
  // Only during something else
  ['agent/state/background-writer.ts', 'file changes; a disk or log reader that does not accept data'],
  ['agent/state/state-files.ts', 'file changes; a disk or log reader that does not accept data'],
  ['core/base/log-output.ts', 'file changes; a disk or log reader that does not accept data'],
  ['agent/reader/reader.ts', 'questions, walks and digests: time limits and pauses'],
  ['agent/host/tree-walk.ts', 'questions, walks and digests: time limits and pauses'],
  ['agent/linux/processes/hashing/background-reader.ts', 'questions, walks and digests: time limits and pauses'],
  ['agent/composition/deferred-services.ts', 'the start, until Triggered collectors are ready; at most 20 s'],
  ['core/base/loop.ts', 'the second after an internal error'],
  ['agent/linux/events.ts', 'the end, until the arguments of the last processes are read'],
  ['agent/linux/audit/control.ts', 'an audit request'],
  ['agent/linux/audit/audit-role.ts', "another audit daemon's start, until it has enabled audit"],
  ['agent/linux/audit/catch-up.ts', 'reading missed events'],
  ['agent/linux/logins/logins.ts', 'reading missed events'],
  ['core/network/dial.ts', 'connecting'],
  ['agent/hub/session.ts', 'connecting'],
  ['agent/identity/client-certificate.ts', 'connecting'],
  ['agent/identity/provisioning/mqtt.ts', 'provisioning'],
  ['agent/identity/provisioning/register.ts', 'provisioning'],
  // Forward sleeps to another clock
  ['core/base/stall-clock.ts', 'measures stalls'],
  ['core/base/waiting.ts', 'wakes polling loops together'],
  ['core/base/watched-clock.ts', 'reports progress to the watchdog'],
];

describe('The table of timers', () => {
  it('the table of timers names exactly the files of the agent that sleep', () => {
    const sleeping = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !COMMANDS.test(path))
      .filter((path) => /\.sleep\(/.test(readFileSync(new URL(path, SOURCES), 'utf8')))
      .sort();
    const listed = [...new Set(TIMERS.map(([file]) => file))].sort();
    assert.ok(sleeping.length > 20, 'the sources were not found');
    assert.deepEqual(listed, sleeping);
  });

  it('core/base/clock.ts is the only file of the agent that uses timers directly', () => {
    const using = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !COMMANDS.test(path))
      .filter((path) => /(?<![.\w])set(?:Timeout|Interval)\(/.test(readFileSync(new URL(path, SOURCES), 'utf8')));
    assert.deepEqual(using, ['core/base/clock.ts']);
  });
});

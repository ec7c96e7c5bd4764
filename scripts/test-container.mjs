// npm run test:container: builds the image on a base image from debootstrap, and runs it by podman, as root. The agent
// in the container must report to an emulator on this machine what happens on the host. Takes some minutes, and needs
// the kernel's audit for itself. VAKT_CONTAINER_BASE names an existing base image.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { mustHave, setUp, TOP } from './set-up.mjs';

mustHave({
  podman: 'podman',
  crun: 'crun',
  auditctl: 'auditd',
  unshare: 'util-linux',
  ...(process.env.VAKT_CONTAINER_BASE === undefined ? { debootstrap: 'debootstrap' } : {}),
});
await setUp();
const { HubEmulator } = await import('../dist/src/emulator/hub.js');
const { seconds } = await import('../dist/src/core/base/duration.js');

const [EPERM, ENOSYS] = [1, 38];
const IMAGE = 'localhost/vakt:test';
const NAME = 'vakt-test';
const VOLUME = 'vakt-test-state';
const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';
const CAPABILITIES = ['AUDIT_CONTROL', 'AUDIT_READ', 'NET_ADMIN', 'DAC_READ_SEARCH', 'SYS_PTRACE'];
const FILTER = `--security-opt=seccomp=${join(TOP, 'config/seccomp.json')}`;
const folder = mkdtempSync(join(tmpdir(), 'vakt-container-'));
const began = Date.now();
const say = (line) => console.log(`${((Date.now() - began) / 1_000).toFixed(1).padStart(6)} s  ${line}`);

/** Asynchronous, since the emulator runs in this process. */
const run = (program, args) =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, PODMAN_IGNORE_CGROUPSV1_WARNING: '1' };
    execFile(program, args, { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(error);
      else resolve({ status: error?.code ?? 0, stdout, stderr });
    });
  });
async function mustRun(program, args) {
  const { status, stdout, stderr } = await run(program, args);
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
}

/** crun fails if control groups version 2 are mounted beside version 1, so they are hidden from it. */
const hideUnified = ['-m', 'sh', '-c', 'umount /sys/fs/cgroup/unified; exec "$@"', 'sh'];
const through = existsSync('/sys/fs/cgroup/unified') ? ['unshare', ...hideUnified, 'podman'] : ['podman'];
function podman(args) {
  const [program, ...before] = through;
  return run(program, [...before, '--cgroup-manager=cgroupfs', ...args]);
}

/** The limits of this process: raising them needs a capability that it may lack. */
const hardLimit = (name) =>
  new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, 'm')
    .exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    .replace('unlimited', '-1');
const limits = Object.entries({ nofile: 'Max open files', nproc: 'Max processes' }).flatMap(([short, name]) => [
  '--ulimit',
  `${short}=${hardLimit(name)}:${hardLimit(name)}`,
]);

/** Builds a base image like the public ones: Debian with its Node, and the npm that runs this script. */
async function makeBase() {
  const given = process.env.VAKT_CONTAINER_BASE;
  if (given !== undefined) return given;
  const root = join(folder, 'root');
  await mustRun('debootstrap', ['--variant=minbase', '--include=nodejs,ca-certificates', 'trixie', root]);
  const npm = join(dirname(process.env.npm_execpath ?? '/usr/lib/node_modules/npm/bin/npm-cli.js'), '..');
  mkdirSync(join(root, 'usr/local/lib/node_modules'), { recursive: true });
  cpSync(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
  await mustRun('tar', ['-C', root, '-cf', join(folder, 'base.tar'), '.']);
  await mustRun('podman', ['import', join(folder, 'base.tar'), 'localhost/vakt-base:test']);
  say('made a base image with debootstrap');
  return 'localhost/vakt-base:test';
}

async function build(base) {
  const { NODE_EXTRA_CA_CERTS: ca } = process.env;
  const secrets = ca === undefined ? [] : ['--secret', `id=ca,src=${ca}`];
  const options = ['--isolation=chroot', '--format=docker', '--build-arg', `NODE_IMAGE=${base}`, '--tag', IMAGE];
  await mustRun('podman', ['--cgroup-manager=cgroupfs', 'build', ...limits, ...secrets, ...options, TOP]);
  say('built the image');
}

/** Runs the image with the options of compose.yaml, except those that a test changes. */
function start(hostSpaces, ...command) {
  return runContainer([...hostSpaces, FILTER], IMAGE, ...command);
}
function runContainer(engineOptions, ...command) {
  const capabilities = CAPABILITIES.map((name) => `--cap-add=${name}`);
  const mounts = ['/:/host:ro', `${join(folder, 'etc')}:/etc/vakt:ro`, `${VOLUME}:/var/lib/vakt`];
  const options = ['--rm', '--name', NAME, '--read-only', '--cap-drop=all', ...capabilities, ...limits];
  const volumes = mounts.flatMap((mount) => ['--volume', mount]);
  return podman(['run', ...engineOptions, ...options, ...volumes, ...command]);
}
const inside = (...args) => podman(['exec', NAME, 'vakt', ...args]);
const findings = (stdout) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const key = randomBytes(32).toString('base64');
const modules = [{ deviceId: 'device1', moduleId: 'azureiotsecurity', primaryKey: key }];
const hub = await HubEmulator.start({ modules });

function configure() {
  mkdirSync(join(folder, 'etc'));
  const write = (name, text, mode) => {
    writeFileSync(join(folder, 'etc', name), text);
    chmodSync(join(folder, 'etc', name), mode);
  };
  const gatewayHostName = `localhost:${hub.port}`;
  const settings = {
    hub: { hostName: hub.hostName, gatewayHostName, trustedCaFile: 'ca.pem' },
    identity: { kind: 'moduleKey', deviceId: 'device1', keyFile: 'module.key' },
    messageRouting: 'telemetry',
    limits: { shortestMessageFrequency: 'PT1S' },
  };
  chmodSync(folder, 0o755);
  write('agent.json', JSON.stringify(settings), 0o644);
  write('ca.pem', hub.caPem, 0o644);
  write('module.key', key, 0o600);
  hub.patchDesired('device1', 'azureiotsecurity', {
    [OBJECT]: {
      highPriorityMessageFrequency: { value: 'PT1S' },
      lowPriorityMessageFrequency: { value: 'PT1S' },
      aggregationEnabledProcessCreate: { value: false },
    },
  });
}

/** The payload elements of an event's first message, or of the first that has an element as wanted. */
async function received(name, isWanted = () => true) {
  const elements = ({ body }) =>
    JSON.parse(body)
      .Events.filter((event) => event.Name === name)
      .flatMap(({ Payload }) => Payload);
  return elements(await hub.waitForMessage((message) => elements(message).some(isWanted), seconds(30)));
}

async function watchTheHost() {
  const { status, stderr } = await start(['--detach', '--pid=host', '--network=host']);
  assert.equal(status, 0, stderr);
  await hub.waitForReported(({ securityAgent }) => securityAgent?.collectors?.ProcessCreate !== undefined, seconds(30));
  const { securityAgent } = hub.twin('device1', 'azureiotsecurity').reported;
  say(`it is connected; ProcessCreate is ${JSON.stringify(securityAgent.collectors.ProcessCreate)}`);

  await run('/bin/sleep', ['0.4321']);
  const [started] = (await received('ProcessCreate', ({ CommandLine }) => CommandLine === '/bin/sleep 0.4321')).filter(
    ({ CommandLine }) => CommandLine === '/bin/sleep 0.4321',
  );
  assert.equal(started.Executable, '/usr/bin/sleep');
  assert.equal(started.UserName, 'root');
  assert.match(started.ExtraDetails.Sha256, /^[0-9a-f]{64}$/);
  say(`a process of the host arrived: ${JSON.stringify(started)}`);

  const accounts = readFileSync('/etc/passwd', 'utf8').trim().split('\n').length;
  assert.equal((await received('LocalUsers')).length, accounts);
  const [system] = await received('SystemInformation');
  assert.equal(system.HostName, readFileSync('/etc/hostname', 'utf8').trim() || hostname());
  const port = String(hub.port);
  const listener = (await received('ListeningPorts')).find(({ LocalPort }) => LocalPort === port);
  assert.equal(listener?.ExtraDetails?.Pid, String(process.pid));
  assert.ok((await received('FirewallConfiguration')).length >= 3);
  assert.ok((await received('ConnectedHardware')).length > 0);
  say(
    `so did the host's ${accounts} accounts, its name, its listening ports with their processes, firewall and hardware`,
  );
}

async function askInside() {
  const status = await inside('status');
  assert.equal(status.status, 0, status.stdout + status.stderr);
  const health = await podman(['healthcheck', 'run', NAME]);
  assert.equal(health.status, 0, health.stdout + health.stderr);
  const { stdout } = await inside('check', '--json');
  const found = findings(stdout);
  assert.deepEqual(
    found.filter(({ state }) => state === 'wrong'),
    [],
  );
  const container = found.filter(({ check }) => check === 'container');
  assert.deepEqual([container.length, container[0].state], [1, 'ok'], JSON.stringify(container));
  const cache = found.filter(({ check }) => check === 'code cache');
  assert.deepEqual([cache.length, cache[0].state], [1, 'ok'], JSON.stringify(cache));
  say(`healthy; vakt check in it: ${container[0].finding}; ${cache[0].finding}`);
}

/** Checks that calls which can access the host's processes are refused with the profile, and only with it. */
async function refuse() {
  const probe = readFileSync(join(TOP, 'test/installed/forbidden-calls.mjs'), 'utf8');
  const node = ['--input-type=module', '-e', probe];
  const under = await podman(['exec', NAME, '/usr/lib/vakt/node', ...node]);
  assert.equal(under.status, 0, under.stderr);
  const refused = Object.entries(JSON.parse(under.stdout));
  assert.ok(refused.length > 15);
  assert.deepEqual(
    refused.filter(([, errno]) => errno !== ENOSYS),
    [],
  );
  await podman(['stop', '--time', '20', NAME]);
  const options = ['--pid=host', '--security-opt=seccomp=unconfined', '--entrypoint=/usr/lib/vakt/node'];
  const without = await runContainer(options, IMAGE, ...node);
  assert.equal(without.status, 0, without.stderr);
  const { process_vm_writev: write, ptrace, open_by_handle_at: open } = JSON.parse(without.stdout);
  for (const errno of [write, ptrace, open]) assert.ok(![ENOSYS, EPERM].includes(errno), without.stdout);
  say(`${refused.length} calls that reach other processes are refused, and are not without the profile`);
}

async function onlyTheAgent() {
  const other = await podman(['exec', '--user=12345:12345', NAME, '/usr/lib/vakt/node', '-e', '0']);
  assert.notEqual(other.status, 0);
  assert.match(other.stderr, /[Pp]ermission denied/);
  say('another user of the container cannot start the Node that has capabilities');
}

async function stopAndComeBack() {
  const id = hub.twin('device1', 'azureiotsecurity').reported.securityAgent.agentId;
  const stopped = await podman(['stop', '--time', '20', NAME]);
  assert.equal(stopped.status, 0, stopped.stderr);
  const left = (await run('auditctl', ['-l'])).stdout;
  assert.doesNotMatch(left, /vakt/);
  hub.clearMessages();
  assert.equal((await start(['--detach', '--pid=host', '--network=host'])).status, 0);
  await received('SystemInformation');
  assert.equal(JSON.parse(hub.messages[0].body).AgentId, id);
  assert.equal((await podman(['stop', '--time', '20', NAME])).status, 0);
  say('stopped, it left no audit rule; started again, it is the same agent: its volume has its state');
}

async function seeLess() {
  const { stdout } = await start(['--network=none'], 'check', '--json');
  const container = findings(stdout).filter(({ check }) => check === 'container');
  const remedies = container.map(({ remedy }) => remedy).join(' ');
  assert.match(remedies, /--pid=host/);
  assert.match(remedies, /--network=host/);
  for (const { finding } of container) say(`without the host's namespaces: ${finding}`);
}

try {
  await build(await makeBase());
  configure();
  await watchTheHost();
  await askInside();
  await onlyTheAgent();
  await stopAndComeBack();
  assert.equal((await start(['--detach', '--pid=host', '--network=host'])).status, 0);
  await refuse();
  await seeLess();
  say('all tests passed');
} finally {
  await podman(['rm', '--force', '--time', '5', NAME]);
  await podman(['volume', 'rm', '--force', VOLUME]);
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
}

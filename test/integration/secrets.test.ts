import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { seconds } from '../../src/core/base/duration.ts';
import { MethodError } from '../../src/emulator/method-calls.ts';
import { release } from '../fuzz.ts';
import type { Site } from '../harness/restarts/site.ts';
import { SITE_NAMES, SITES } from '../harness/restarts/sites.ts';
import { SecretSearch } from '../harness/secret-search.ts';
import { until } from '../harness/until.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { type AgentProcess, DEVICE, type Launch, MODULE, PROGRAM, STEADY } from './test-bed.ts';

const TELL_SIGNATURES = new URL('../harness/tell-signatures.js', import.meta.url).pathname;
/** A part of every token, which must not occur in any output. */
const TOKEN = /SharedAccessSignature|[?&;]sig=|%26sig%3[dD]/;
/** The agent's configuration and credentials. */
const SECRET_FILES = /\.(key|password|connection-string|pem)$/;

/** An agent, its secrets, and all output of the agent and its commands. */
class Suspect {
  readonly search = new SecretSearch();
  readonly texts = new Map<string, string>();
  readonly site: Site;
  readonly agent: AgentProcess;
  readonly #launch: Launch;
  #signatures = 0;

  constructor(site: Site, more: Launch = {}) {
    this.site = site;
    this.#launch = site.launch;
    site.bed.writeConfiguration({ ...site.configuration, logging: { level: 'trace' } });
    this.collectSecrets();
    this.agent = site.bed.startAgent({
      ...site.launch,
      ...more,
      environment: { ...site.launch.environment, ...more.environment },
      options: ['--import', TELL_SIGNATURES, ...(more.options ?? [])],
      onLine: (signature) => {
        this.#signatures += 1;
        this.search.add('a signature or derived key', signature);
      },
    });
  }

  get signatures(): number {
    return this.#signatures;
  }

  /** All secrets that are in files or at the hubs now. */
  collectSecrets(): void {
    const { directory } = this.site.bed;
    for (const name of readdirSync(directory)) {
      if (SECRET_FILES.test(name)) this.search.add(name, readFileSync(join(directory, name), 'utf8'));
    }
    for (const hub of this.site.hubs) {
      for (const { credential } of [
        ...hub.devices,
        ...hub.devices.flatMap(({ deviceId }) => hub.modulesOf(deviceId)),
      ]) {
        if (credential.type !== 'sas') continue;
        this.search.add('a primary key at the hub', credential.primaryKey);
        this.search.add('a secondary key at the hub', credential.secondaryKey);
      }
    }
  }

  async connected(): Promise<void> {
    await this.agent.waitForStatus(({ hub }) => hub.state === 'connected', seconds(60));
    this.collectSecrets();
  }

  /** Reads command lines and environments of the agent and its child processes. */
  collectProcesses(): void {
    const { pid } = this.agent;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    for (const id of [pid, ...children]) {
      for (const file of ['cmdline', 'environ'])
        this.texts.set(
          `${file} of ${id === pid ? 'the agent' : 'its child'}`,
          readFileSync(`/proc/${id}/${file}`, 'latin1'),
        );
    }
  }

  /** Retries if the agent reconnects at the same time, as it does with a new credential. */
  async collectDiagnostics(): Promise<void> {
    await until('an answer to getDiagnostics', async () => {
      const hub = this.site.hubs.find(({ modules }) => modules.some(({ connected }) => connected));
      const answer = await hub?.invokeMethod(DEVICE, MODULE, 'getDiagnostics', {}).catch((error: unknown) => {
        if (!(error instanceof MethodError)) throw error;
      });
      if (answer?.status === 200) this.texts.set('getDiagnostics', JSON.stringify(answer));
      return answer?.status === 200;
    });
    this.texts.set('vakt status', JSON.stringify(await this.agent.status()));
  }

  async collectCommands(): Promise<void> {
    const config = join(this.site.bed.directory, 'agent.json');
    for (const how of ['--json', '--verbose']) {
      const child = spawn(process.execPath, [...nodeFlagsOf(PROGRAM), PROGRAM, 'check', how, '--config', config], {
        env: { ...process.env, ...this.#launch.environment },
      });
      const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
      assert.match(stdout, /emulator\.azure-devices\.net/, stderr);
      const before = this.texts.get(`vakt check ${how}`) ?? '';
      this.texts.set(`vakt check ${how}`, `${before}${stdout}${stderr}`);
    }
  }

  /** Contents of a support bundle's files, keyed by file name. */
  async collectBundle(): Promise<void> {
    const { directory } = this.site.bed;
    const file = join(directory, 'bundle.tar.gz');
    const args = ['support-bundle', file, '--config', join(directory, 'agent.json')];
    const child = spawn(process.execPath, [...nodeFlagsOf(PROGRAM), PROGRAM, ...args], {
      env: { ...process.env, ...this.#launch.environment },
    });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    assert.match(stdout, /^Written: /m, stderr);
    const archive = gunzipSync(readFileSync(file)).toString('latin1');
    for (const name of [
      'MANIFEST',
      'check.txt',
      'status.json',
      'diagnostics.json',
      'configuration/local.json',
      'books.json',
    ])
      assert.ok(archive.includes(`./vakt-support/${name}\0`), `${name} is not in the bundle:\n${stdout}`);
    const before = this.texts.get('a support bundle') ?? '';
    this.texts.set('a support bundle', `${before}${archive}${stdout}${stderr}`);
    rmSync(file);
  }

  /** Collects all files that the agent has written by the end. */
  collectRest(): void {
    const { bed, hubs } = this.site;
    this.texts.set('the log', this.agent.output);
    const top = readdirSync(bed.directory).filter((name) => !SECRET_FILES.test(name));
    const inState = readdirSync(join(bed.directory, 'state'), { recursive: true, encoding: 'utf8' });
    for (const name of [...top, ...inState.map((name) => join('state', name))]) {
      const path = join(bed.directory, name);
      if (statSync(path, { throwIfNoEntry: false })?.isFile() === true)
        this.texts.set(`the file ${name}`, readFileSync(path, 'latin1'));
    }
    for (const hub of hubs) {
      this.texts.set(`messages at ${hub.hostName}`, JSON.stringify(hub.messages));
      if (hub.hasModule(DEVICE, MODULE))
        this.texts.set(`twin at ${hub.hostName}`, JSON.stringify(hub.twin(DEVICE, MODULE)));
    }
  }

  /** Lists each secret that was found, with its place. */
  leaks(): string[] {
    return [...this.texts].flatMap(([place, text]) => [
      ...this.search.find(text).map((secret) => `${place}: ${secret}`),
      ...(TOKEN.test(text) ? [`${place}: a token`] : []),
    ]);
  }
}

/** The kinds of secrets: a key, a certificate's key, and one that is derived and kept. */
const ALWAYS: readonly string[] = ['moduleKey', 'deviceCertificate', 'provisioningGroup'];

describe('The secrets of an agent', function () {
  this.timeout(240_000);
  let site: Site;
  afterEach(() => site?.stop(false));

  for (const name of SITE_NAMES) {
    it(`never appear in its output, files, messages or process data: ${name}${release(!ALWAYS.includes(name))}`, async () => {
      site = await SITES[name](STEADY);
      const suspect = new Suspect(site);
      const { agent } = suspect;
      await suspect.connected();
      await until('messages', () => site.hubs.some(({ messages }) => messages.length > 1));
      suspect.collectProcesses();
      await suspect.collectDiagnostics();
      await suspect.collectCommands();
      await suspect.collectBundle();

      const { spoil, renew } = site.operations;
      if (spoil !== undefined) {
        await spoil.begin();
        agent.lookNow();
        await agent.waitForStatus(({ credential }) => credential.error !== undefined, seconds(60));
        suspect.collectSecrets();
        await suspect.collectCommands(); // refused
        await suspect.collectBundle();
        await spoil.end();
        agent.lookNow();
        await suspect.connected();
        await suspect.collectDiagnostics();
      }
      await renew?.();
      suspect.collectSecrets();

      process.kill(agent.pid, 'SIGUSR2');
      await agent.waitForLog(({ err, msg }) => JSON.stringify([err, msg]).includes('thrown by a test'));
      const hasExited = () => !existsSync(`/proc/${agent.pid}`);
      agent.kill('SIGABRT');
      const { signal } = await agent.exited;
      assert.equal(signal, 'SIGABRT');
      assert.ok(hasExited());
      suspect.collectSecrets();
      suspect.collectRest();
      assert.ok(suspect.texts.size > 10, [...suspect.texts.keys()].join(', '));
      if (!/Certificate|edge|identityService/.test(name)) assert.ok(suspect.signatures > 0);
      assert.deepEqual(suspect.leaks(), []);
    });
  }

  it('would be found by the search in each place', async () => {
    site = await SITES.moduleKey(STEADY);
    const { bed } = site;
    const key = readFileSync(join(bed.directory, 'module.key'), 'utf8').trim();
    const hostRoot = join(bed.directory, 'host');
    mkdirSync(join(hostRoot, 'etc'), { recursive: true });
    for (const folder of ['proc', 'sys']) symlinkSync(`/${folder}`, join(hostRoot, folder));
    writeFileSync(join(hostRoot, 'etc/os-release'), `ID=debian\nNAME="Debian ${key}"\n`);
    site = Object.assign(site, { configuration: { ...site.configuration, hostRoot } });
    const suspect = new Suspect(site, {
      environment: { PLANTED: encodeURIComponent(key) },
      options: [
        `--title=${key}`,
        `--import=data:text/javascript,process.stderr.write(${JSON.stringify(Buffer.from(key, 'base64').toString('hex'))})`,
      ],
    });
    await suspect.connected();
    const hasSent = () => site.hubs.some(({ messages }) => JSON.stringify(messages).includes('SystemInformation'));
    await until('a message with the planted key', hasSent);
    bed.write('state/planted', Buffer.from(key).toString('base64'));
    suspect.collectProcesses();
    suspect.collectRest();
    suspect.texts.set('a token', `Authorization: SharedAccessSignature sr=x&sig=y`);
    const leaks = suspect.leaks();
    for (const place of [
      /^the log: .*hex/,
      /^cmdline of the agent/,
      /^environ of the agent/,
      /^the file state\/planted/,
      /^messages at/,
      /^a token/,
    ])
      assert.ok(
        leaks.some((leak) => place.test(leak)),
        `${place} is not in:\n${leaks.join('\n')}`,
      );
    const [{ messages } = { messages: [] }] = site.hubs;
    assert.ok(messages.length > 0);
    for (const hub of site.hubs) hub.clearMessages(); // the test bed would also find it
    await suspect.agent.end();
    for (const hub of site.hubs) hub.clearMessages();
    suspect.agent.output = '';
    rmSync(join(bed.directory, 'state'), { recursive: true });
  });
});

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newKey } from '../agent/hub/support.ts';
import { NotifyReceiver } from '../agent/linux/self/notify-receiver.ts';
import { until } from '../harness/until.ts';
import { STEADY, TestBed } from './test-bed.ts';

describe('The agent, as a service', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let manager: NotifyReceiver;
  let told: string[];

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
    manager = new NotifyReceiver(join(bed.directory, 'notify'));
    told = [];
  });
  afterEach(async () => {
    await bed.close();
    manager.close();
  });

  const environment = (more: NodeJS.ProcessEnv = {}) => ({ NOTIFY_SOCKET: join(bed.directory, 'notify'), ...more });
  const listen = () => told.push(...manager.messages().flatMap((message) => message.split('\n')));
  const wait = (predicate: () => boolean) =>
    until(
      () => `another message, heard only: ${told.join(' | ')}`,
      () => {
        listen();
        return predicate();
      },
    );

  it('says that it has started, what it does, that it lives, and that it stops', async () => {
    const agent = bed.startAgent({ environment: environment({ WATCHDOG_USEC: '2000000' }) });
    await wait(() =>
      told.some((line) => /^STATUS=Running, connected to the hub; \d+ events queued, 0 dropped\.$/.test(line)),
    );
    assert.equal(told[0], 'READY=1');
    const pings = () => told.filter((line) => line === 'WATCHDOG=1').length;
    const before = pings();
    await wait(() => pings() >= before + 2);
    agent.kill('SIGTERM');
    await agent.exited;
    listen();
    assert.deepEqual(told.slice(-2), ['STOPPING=1', 'STATUS=Stopping: sends what it can in ten seconds.']);
  });

  it('has started though the hub is out of reach, and says so', async () => {
    bed.writeConfiguration({
      hub: { hostName: bed.hub.hostName, gatewayHostName: 'localhost:1', trustedCaFile: 'ca.pem' },
    });
    bed.startAgent({ environment: environment() });
    await wait(
      () => told.includes('READY=1') && told.some((line) => /^STATUS=\w+, not connected to the hub/.test(line)),
    );
  });

  it('leaves nothing in its environment by which a child could speak for it', async () => {
    const script = `process.on('SIGUSR2', () => require('node:fs').writeSync(3, process.env.NOTIFY_SOCKET + '\\n'));`;
    const heard: string[] = [];
    const agent = bed.startAgent({
      environment: environment(),
      options: ['--require', bed.write('look.cjs', script)],
      onLine: (line) => heard.push(line),
    });
    await wait(() => told.includes('WATCHDOG=1'));
    agent.kill('SIGUSR2');
    await wait(() => heard.length > 0);
    assert.deepEqual(heard, ['undefined']);
    agent.kill('SIGTERM');
    assert.deepEqual(await agent.exited, { status: 0, signal: null });
  });

  it('says why it cannot start, and what to do', async () => {
    bed.writeConfiguration({ stateDirectory: 7 });
    const { exited } = bed.startAgent({ environment: environment() });
    assert.deepEqual(await exited, { status: 78, signal: null });
    listen();
    assert.equal(told.length, 1);
    assert.match(told[0] ?? '', /^STATUS=Local Configuration, .*stateDirectory.*"vakt check"\. \(CONFIG_INVALID\)$/);
  });

  describe('with what systemd hands over, where the file of the key is out of reach', () => {
    let credentials: string;
    let copy: string;
    beforeEach(() => {
      credentials = join(bed.directory, 'credentials');
      copy = join(credentials, 'secrets_module.key');
      mkdirSync(credentials);
      renameSync(join(bed.directory, 'module.key'), copy);
      const written = JSON.parse(readFileSync(bed.writeConfiguration(), 'utf8'));
      bed.writeConfiguration({ identity: { ...written.identity, keyFile: 'secrets/module.key' } });
    });
    const start = () => bed.startAgent({ environment: environment({ CREDENTIALS_DIRECTORY: credentials }) });

    it('connects', async () => {
      start();
      await wait(() => told.some((line) => line.includes('connected to the hub;')));
    });

    it('says of a key that is refused which file is to be changed, and that this takes a restart', async () => {
      writeFileSync(copy, newKey(), { mode: 0o600 });
      const agent = start();
      const { remedy } = await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
      const file = join(bed.directory, 'secrets/module.key');
      assert.ok(String(remedy).endsWith(`; after a change of ${file}, run: systemctl restart vakt.`), String(remedy));
      assert.deepEqual((await agent.status()).hub.copies, { [file]: copy });
    });
  });
});

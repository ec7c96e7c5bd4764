import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { findTool } from '../../../../src/agent/host/run-tool.ts';
import { systemCalls } from '../../../../src/agent/linux/native/system-calls.ts';
import { takeServiceManager } from '../../../../src/agent/linux/self/service-manager.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { require } from '../../../harness/require.ts';
import { withoutKoffi } from '../../../harness/without-koffi.ts';
import { NotifyReceiver } from './notify-receiver.ts';

describe('ServiceManager', () => {
  let folder: string;
  let path: string;
  let receiver: NotifyReceiver | undefined;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'notify');
  });
  afterEach(() => {
    receiver?.close();
    receiver = undefined;
  });

  for (const kind of ['a path', 'an abstract address']) {
    it(`sends ${kind}`, () => {
      const address = kind === 'a path' ? path : `@vakt-test-${process.pid}`;
      receiver = new NotifyReceiver(address);
      const { notify } = takeServiceManager({ NOTIFY_SOCKET: address });
      notify('READY=1', 'STATUS=Runs.');
      notify('WATCHDOG=1');
      assert.deepEqual(receiver.messages(), ['READY=1\nSTATUS=Runs.', 'WATCHDOG=1']);
    });
  }

  it('sends one notification even if its text contains a line break', () => {
    receiver = new NotifyReceiver(path);
    takeServiceManager({ NOTIFY_SOCKET: path }).notify('STATUS=one\n  MAINPID=1');
    assert.deepEqual(receiver.messages(), ['STATUS=one MAINPID=1']);
  });

  it("removes its variables from the environment, so that no child notifies on the agent's behalf", () => {
    const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '5000000', WATCHDOG_PID: '1', PATH: '/bin' };
    takeServiceManager(environment);
    assert.deepEqual(environment, { PATH: '/bin' });
  });

  it('returns the watchdog interval', () => {
    const watchdog = (more: NodeJS.ProcessEnv) => takeServiceManager({ NOTIFY_SOCKET: path, ...more }).watchdog;
    assert.equal(watchdog({ WATCHDOG_USEC: '90000000', WATCHDOG_PID: String(process.pid) }), seconds(90));
    assert.equal(watchdog({ WATCHDOG_USEC: '500000' }), milliseconds(500));
    assert.equal(watchdog({}), undefined);
    assert.equal(watchdog({ WATCHDOG_USEC: 'soon' }), undefined);
    assert.equal(watchdog({ WATCHDOG_USEC: '0' }), undefined);
  });

  it('sends no notification if another process is addressed', () => {
    const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '5000000', WATCHDOG_PID: '1' };
    assert.equal(takeServiceManager(environment).watchdog, undefined);
  });

  for (const [what, address] of Object.entries({
    'none is named': undefined,
    'its address is of no kind that is known': 'vsock:2:1234',
    'its path is too long for a socket': `/${'x'.repeat(108)}`,
  })) {
    it(`sends nothing if ${what}: no system call, no watchdog notification`, () => {
      const manager = takeServiceManager({ NOTIFY_SOCKET: address, WATCHDOG_USEC: '5000000' });
      const opened = sinon.spy(systemCalls(), 'socket');
      try {
        manager.notify('READY=1');
        assert.equal(opened.callCount, 0);
        assert.equal(manager.watchdog, undefined);
      } finally {
        opened.restore();
      }
    });
  }

  it('closes its socket if the manager is not listening', () => {
    const manager = takeServiceManager({ NOTIFY_SOCKET: '/nonexistent/vakt/notify' });
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    assert.equal(manager.notify('READY=1'), false);
    assert.equal(open(), before);
  });

  it('does not block if the manager reads nothing, and reports the failure', () => {
    receiver = new NotifyReceiver(path);
    const { notify } = takeServiceManager({ NOTIFY_SOCKET: path });
    let sent = 0; // the kernel queues 10 unless attempt otherwise
    for (let attempt = 0; attempt < 2_000; attempt += 1) if (notify('WATCHDOG=1')) sent += 1;
    assert.equal(receiver.messages().length, sent);
    assert.ok(sent < 2_000);
    assert.equal(notify('WATCHDOG=1'), true);
  });

  it('runs systemd-notify without native code', async function () {
    require(this, findTool('systemd-notify') === undefined ? 'there is no systemd-notify' : undefined);
    receiver = new NotifyReceiver(path);
    const service = new URL('../../../../src/agent/linux/self/service-manager.js', import.meta.url).href;
    const script = `const { takeServiceManager } = await import(${JSON.stringify(service)});
      takeServiceManager(process.env).notify('READY=1', 'STATUS=Runs without native code.');`;
    const child = spawn(process.execPath, ['--require', withoutKoffi(), '--input-type=module', '--eval', script], {
      env: { ...process.env, NOTIFY_SOCKET: path },
      stdio: 'inherit',
    });
    const received: string[] = [];
    while (child.exitCode === null && child.signalCode === null) {
      received.push(...receiver.messages());
      await systemClock.sleep(milliseconds(20));
    }
    assert.deepEqual([...received, ...receiver.messages()][0]?.split('\n'), [
      'READY=1',
      'STATUS=Runs without native code.',
    ]);
  });
});

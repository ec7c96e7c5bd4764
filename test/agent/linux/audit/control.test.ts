import assert from 'node:assert/strict';
import sinon from 'sinon';
import { AuditControl } from '../../../../src/agent/linux/audit/control.ts';
import { encodeStatus } from '../../../../src/agent/linux/audit/status.ts';
import { encodeMessage } from '../../../../src/agent/linux/native/netlink/message.ts';
import type { NetlinkSocket } from '../../../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';

const AUDIT_GET = 1000;
const NLMSG_ERROR = 2;

describe('AuditControl', () => {
  let time: sinon.SinonFakeTimers;
  /** Answers of the kernel that are still unread. */
  let waiting: Buffer[];
  let looks: number;
  let control: AuditControl;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    waiting = [];
    looks = 0;
    const socket = {
      send: () => 7,
      receive: () => {
        looks += 1;
        return waiting.shift();
      },
      close: () => {},
    } as unknown as NetlinkSocket;
    control = new AuditControl(socket, systemClock);
  });
  afterEach(() => time.restore());

  const answer = () => waiting.push(encodeMessage(AUDIT_GET, 0, 7, encodeStatus({ enabled: 1, pid: 9 })));

  it('accepts an answer', async () => {
    const asked = control.status();
    await time.tickAsync(5);
    waiting.push(encodeMessage(NLMSG_ERROR, 0, 7, Buffer.alloc(4)));
    answer();
    await time.tickAsync(5);
    assert.equal((await asked).pid, 9);
  });

  it('accepts an answer that arrived while this process was stopped for longer than the limit', async () => {
    const asked = control.status();
    await time.tickAsync(3);
    answer();
    standStill(10_000);
    await time.tickAsync(1);
    assert.equal((await asked).pid, 9);
  });

  it('waits for an answer that arrives shortly after such a stop', async () => {
    const asked = control.status();
    await time.tickAsync(3);
    standStill(10_000);
    await time.tickAsync(5);
    answer();
    await time.tickAsync(5);
    assert.equal((await asked).pid, 9);
  });

  it('times out after two seconds without an answer', async () => {
    const asked = assert.rejects(control.status(), { code: 'ETIMEDOUT' });
    await time.tickAsync(1_900);
    assert.ok(looks > 1_000);
    await time.tickAsync(200);
    await asked;
    assert.equal(time.countTimers(), 0);
  });

  /** Time goes by, and no timer is run. */
  function standStill(ms: number): void {
    time.jump(ms);
  }
});

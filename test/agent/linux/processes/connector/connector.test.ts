import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ProcessConnector } from '../../../../../src/agent/linux/processes/connector/connector.ts';
import {
  EXIT,
  IGNORE,
  LISTEN,
  type ProcessEvent,
} from '../../../../../src/agent/linux/processes/connector/messages.ts';
import { AgentError } from '../../../../../src/core/base/errors.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { answerTo, exitOf } from './datagrams.ts';
import { FakeSocket, fakeConnector } from './fake-connector.ts';

describe('ProcessConnector', () => {
  const read = (connector: ProcessConnector) => {
    const events: ProcessEvent[] = [];
    while (connector.read((event) => events.push(event)));
    return events;
  };

  it('subscribes and unsubscribes', () => {
    const socket = new FakeSocket();
    const connector = fakeConnector(socket);
    assert.deepEqual(socket.requests, [LISTEN]);
    connector.close();
    connector.close();
    assert.deepEqual(socket.requests, [LISTEN, IGNORE]);
    assert.throws(() => connector.read(() => {}), { id: 'SOCKET_UNAVAILABLE' });
  });

  it('skips datagrams before the answer, and answers to other processes', () => {
    const socket = new FakeSocket(answerTo, [exitOf(1), answerTo(4711)]);
    const { send } = socket;
    socket.send = (type, flags, payload) => {
      socket.waiting.push(exitOf(2), answerTo(4712), Buffer.alloc(5));
      return send.call(socket, type, flags, payload);
    };
    const connector = fakeConnector(socket);
    socket.waiting.push(exitOf(3), Buffer.alloc(2), exitOf(4));
    assert.deepEqual(
      read(connector).map((event) => event.what === EXIT && event.pid),
      [3, 4],
    );
    connector.close();
  });

  it("counts the kernel's drops, without /proc at least once for each report", () => {
    const socket = new FakeSocket();
    const connector = fakeConnector(socket);
    assert.equal(connector.takeDropped(), 0);
    socket.overruns += 2;
    assert.equal(connector.overruns, 2);
    assert.equal(connector.takeDropped(), 2);
    assert.equal(connector.takeDropped(), 0);
    connector.close();
  });

  for (const [what, answer, remedy] of [
    ['a refusal', (acknowledgement: number) => answerTo(acknowledgement, 1), /CAP_NET_ADMIN/],
    ['silence', () => undefined, /--pid=host/],
    ['an answer to somebody else', (acknowledgement: number) => answerTo(acknowledgement + 1), /--pid=host/],
  ] as const) {
    it(`fails at ${what}`, () => {
      const socket = new FakeSocket(answer);
      assert.throws(
        () => fakeConnector(socket),
        (error) => {
          assert.ok(error instanceof AgentError);
          assert.equal(error.id, 'SOCKET_UNAVAILABLE');
          assert.match(error.remedy, remedy);
          return true;
        },
      );
      assert.throws(() => socket.read(Buffer.alloc(1)), { code: 'EBADF' });
    });
  }

  for (const [code, remedy] of [
    ['ECONNREFUSED', /--net=host/],
    ['EPERM', /CAP_NET_ADMIN/],
    ['EPROTONOSUPPORT', /CONFIG_CONNECTOR/],
    ['EFAULT', /errno/],
  ] as const) {
    it(`names the remedy for ${code}`, () => {
      const fail = () => {
        throw Object.assign(new Error(code), { code });
      };
      assert.throws(
        () => ProcessConnector.open(() => Buffer.alloc(8), fail),
        (error) => {
          assert.ok(error instanceof AgentError);
          assert.match(error.remedy, remedy);
          return error.id === 'SOCKET_UNAVAILABLE';
        },
      );
    });
  }

  it('keeps the message of an error that already has a remedy', () => {
    const reason = new AgentError('SOCKET_UNAVAILABLE', 'koffi does not load', 'Install it.');
    const fail = () => {
      throw reason;
    };
    assert.throws(() => ProcessConnector.open(() => Buffer.alloc(8), fail), reason);
  });

  it('accepts any datagrams', () => {
    const socket = new FakeSocket();
    const connector = fakeConnector(socket);
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 3 }), (datagrams) => {
        socket.waiting.push(...datagrams.map((bytes) => Buffer.from(bytes)));
        assert.ok(read(connector).length <= datagrams.length);
      }),
      { numRuns: fuzzRuns(10_000) },
    );
    connector.close();
  });
});

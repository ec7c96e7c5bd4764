import assert from 'node:assert/strict';
import { login } from '../../../src/agent/collectors/login.ts';
import { MalformedRecordError } from '../../../src/core/contract/collector.ts';
import type { LoginReporter, LoginSeen } from '../../../src/core/contract/streams.ts';
import { look, records } from './samples.ts';

const translate = (seen: LoginSeen) => login.translate(seen, look);
const { time } = records.logins;
/** As little as there may be. */
const bare: LoginSeen = { time, operation: 'Login', success: true, pid: 0, executable: 'unknown', userName: 'alice' };

describe('Login', () => {
  it('reports the user, the origin and the program of a login', () => {
    assert.deepEqual(translate(records.logins), {
      ProcessId: 812,
      Operation: 'Login',
      Executable: '/usr/sbin/sshd',
      Result: 'Success',
      UserId: '1000',
      UserName: 'alice',
      RemoteAddress: '192.0.2.7',
      RemotePort: '50113',
      LocalPort: '22',
      ExtraDetails: { Terminal: '/dev/pts/0', SessionId: '3' },
    });
  });

  it('reports the process that wrote the record, and its container', () => {
    const seen = { ...bare, pid: 4242, executable: '/usr/sbin/sshd' };
    const payload = (reporter: LoginReporter) => translate({ ...seen, reporter });
    const honest = payload({ pid: 4242, executable: '/usr/sbin/sshd' });
    assert.equal(honest?.Executable, '/usr/sbin/sshd');
    assert.deepEqual(honest?.ExtraDetails, { ReporterProcessId: '4242', ReporterExecutable: '/usr/sbin/sshd' });
    const liar = payload({ pid: 4242, executable: '/tmp/liar', containerId: 'web' });
    assert.equal(liar?.Executable, '/tmp/liar');
    assert.deepEqual(liar?.ExtraDetails, {
      ReporterProcessId: '4242',
      ReporterExecutable: '/tmp/liar',
      ReportedExecutable: '/usr/sbin/sshd',
      ContainerId: 'web',
    });
    const exited = payload({ pid: 4242 });
    assert.equal(exited?.Executable, '/usr/sbin/sshd');
    assert.deepEqual(exited?.ExtraDetails, { ReporterProcessId: '4242', ReporterExecutable: 'unknown' });
  });

  it("does not look up a container's user id among the host’s accounts", () => {
    const { userName: _, ...nameless } = bare;
    const payload = translate({ ...nameless, userId: 0, reporter: { pid: 1, containerId: 'web' } });
    assert.deepEqual([payload?.UserId, payload?.UserName], ['0', undefined]);
  });

  it('omits unknown facts', () => {
    assert.deepEqual(translate(bare), {
      ProcessId: 0,
      Operation: 'Login',
      Executable: 'unknown',
      Result: 'Success',
      UserName: 'alice',
    });
  });

  it('reports a failed login with the attempted name, and a logout', () => {
    const refused = translate({ ...bare, operation: 'PAM:authentication', success: false, userName: 'no body' });
    assert.deepEqual(
      [refused?.Operation, refused?.Result, refused?.UserName, refused?.UserId],
      ['PAM:authentication', 'Fail', 'no body', undefined],
    );
    const left = translate({ ...bare, operation: 'Logout' });
    assert.deepEqual([left?.Operation, left?.Result], ['Logout', 'Success']);
  });

  it('resolves the account of an id that is local', () => {
    const { userName: _, ...nameless } = bare;
    assert.equal(translate({ ...nameless, userId: 0 })?.UserName, 'root');
    assert.deepEqual(
      [translate({ ...nameless, userId: 4711 })?.UserId, translate({ ...nameless, userId: 4711 })?.UserName],
      ['4711', undefined],
    );
  });

  it('separates zone and host name from the address', () => {
    const seen = { ...bare, remote: { address: 'fe80::1' }, zone: 'eth0', remoteHost: 'host.example' };
    const payload = translate(seen);
    assert.equal(payload?.RemoteAddress, 'fe80::1');
    assert.deepEqual(payload?.ExtraDetails, { RemoteHost: 'host.example', Zone: 'eth0' });
  });

  it('rejects a login without a user', () => {
    const { userName: _, ...nameless } = bare;
    assert.throws(() => translate(nameless), MalformedRecordError);
  });
});

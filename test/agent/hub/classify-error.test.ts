import assert from 'node:assert/strict';
import { classifyError, TwinStatusError } from '../../../src/agent/hub/classify-error.ts';
import { MALFORMED } from '../../../src/agent/hub/incoming.ts';
import { TimeLimitError } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { AgentError, type FailureId } from '../../../src/core/base/errors.ts';
import type { RetryCause } from '../../../src/core/contract/hub.ts';
import { ProxyError } from '../../../src/core/network/tunnel.ts';
import { withCopies } from '../../harness/copies.ts';

describe('classifyError', () => {
  const peer = { address: 'contoso.azure-devices.net', module: 'dev1/sec', now: new Date('2026-01-01T00:01:00Z') };
  const error = (message: string, fields: object = {}) => Object.assign(new Error(message), fields);
  /** As the SDK gives it for every first connection. */
  const first = (message: string, fields: object = {}) =>
    error(`mqtt.js returned Failure on first connection (Not authorized): ${message} error`, {
      name: 'UnauthorizedError',
      transportError: error(`Failure on first connection (Not authorized): ${message}`, fields),
    });
  const altName = "Hostname/IP does not match certificate's altnames: Host: localhost. is not in the cert's altnames";
  const unable = 'Unable to establish a connection';

  type Case = [string, unknown, FailureId, RetryCause | undefined, RegExp?];
  const cases: Case[] = [
    [
      'CONNACK 5',
      error('Connection refused: Not authorized', { code: 5 }),
      'CREDENTIAL_REFUSED',
      'credentials',
      /clock is right \(now 2026-01-01T00:01:00.000Z\)/,
    ],
    [
      'CONNACK 4',
      error('Connection refused: Bad username or password', { code: 4 }),
      'CREDENTIAL_REFUSED',
      'credentials',
    ],
    ['CONNACK 2', error('Connection refused: Identifier rejected', { code: 2 }), 'CREDENTIAL_REFUSED', 'credentials'],
    [
      'CONNACK 5 as a first connection',
      first('Connection refused: Not authorized'),
      'CREDENTIAL_REFUSED',
      'credentials',
    ],
    ['CONNACK 3', error('Connection refused: Server unavailable', { code: 3 }), 'HUB_UNREACHABLE', 'network'],
    ['CONNACK 3 as a first connection', first('Connection refused: Server unavailable'), 'HUB_UNREACHABLE', 'network'],
    [
      'no such name',
      error('getaddrinfo ENOTFOUND contoso', { code: 'ENOTFOUND' }),
      'HUB_UNREACHABLE',
      'network',
      /getent hosts contoso\.azure-devices\.net$/,
    ],
    [
      'no DNS server',
      error('getaddrinfo EAI_AGAIN contoso', { code: 'EAI_AGAIN' }),
      'HUB_UNREACHABLE',
      'network',
      /DNS/,
    ],
    ['no such name as a first connection', first('getaddrinfo ENOTFOUND contoso'), 'HUB_UNREACHABLE', 'network', /DNS/],
    ...['concert-hub', 'tls-lab', 'ssl.example', 'hub-403002'].map(
      (host) =>
        [
          `no such name as ${host}`,
          error(`getaddrinfo ENOTFOUND ${host}`, { code: 'ENOTFOUND' }),
          'HUB_UNREACHABLE',
          'network',
          /DNS/,
        ] satisfies Case,
    ),
    [
      'no such name as tls-lab as a first connection',
      first('getaddrinfo ENOTFOUND tls-lab'),
      'HUB_UNREACHABLE',
      'network',
      /DNS/,
    ],
    [
      'a look-up that fails for good',
      error('getaddrinfo EAI_FAIL x', { code: 'EAI_FAIL' }),
      'HUB_UNREACHABLE',
      'network',
      /DNS/,
    ],
    [
      'no listener',
      error('connect ECONNREFUSED 1.2.3.4:8883', { code: 'ECONNREFUSED' }),
      'HUB_UNREACHABLE',
      'network',
      /net:8883 by TCP/,
    ],
    [
      'no listener as a first connection',
      first('connect ECONNREFUSED 1.2.3.4:8883'),
      'HUB_UNREACHABLE',
      'network',
      /TCP/,
    ],
    [
      'no listener at any address',
      Object.assign(new AggregateError([error('connect ECONNREFUSED ::1:8883')]), { code: 'ECONNREFUSED' }),
      'HUB_UNREACHABLE',
      'network',
      /TCP/,
    ],
    ['no route', error('connect ENETUNREACH', { code: 'ENETUNREACH' }), 'HUB_UNREACHABLE', 'network'],
    ['an end without an answer', first(unable), 'HUB_UNREACHABLE', 'network', /no second agent uses dev1\/sec/],
    [
      'an unknown authority',
      error('self-signed certificate in certificate chain', { code: 'SELF_SIGNED_CERT_IN_CHAIN' }),
      'TLS_FAILED',
      'network',
      /hub\.trustedCaFile/,
    ],
    [
      'an unknown authority as a first connection',
      first('self-signed certificate in certificate chain'),
      'TLS_FAILED',
      'network',
      /hub\.trustedCaFile/,
    ],
    [
      'an unknown issuer',
      error('unable to get local issuer certificate', { code: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY' }),
      'TLS_FAILED',
      'network',
    ],
    ['another host', error(altName, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }), 'TLS_FAILED', 'network'],
    [
      'no TLS',
      error('write EPROTO 0:error:0A00010B:SSL routines::wrong version number', { code: 'EPROTO' }),
      'TLS_FAILED',
      'network',
    ],
    [
      'a certificate of the future',
      error('certificate is not yet valid', { code: 'CERT_NOT_YET_VALID' }),
      'TLS_FAILED',
      'network',
      /clock \(now 2026-01-01T00:01:00.000Z\)/,
    ],
    ['a certificate of the past', first('certificate has expired'), 'TLS_FAILED', 'network', /clock/],
    ['silence', new TimeLimitError('connecting', seconds(30)), 'HUB_SILENT', 'network'],
    [
      'a proxy that wants a password',
      new ProxyError({ host: 'proxy', port: 3128 }, 'x', { status: 407 }),
      'PROXY_REFUSED',
      'credentials',
      /Set the user in hub\.proxy/,
    ],
    [
      'a proxy that refuses the password',
      new ProxyError({ host: 'proxy', port: 3128, user: 'agent', passwordFile: '/s/p' }, 'x', { status: 407 }),
      'PROXY_REFUSED',
      'credentials',
      /Correct the user in hub\.proxy and the password in \/s\/p \(hub\.proxyPasswordFile\)/,
    ],
    [
      'a proxy that refuses the port',
      new ProxyError({ host: 'proxy', port: 3128, user: 'agent' }, 'x', { status: 403 }),
      'PROXY_REFUSED',
      'credentials',
      /Allow CONNECT to contoso\.azure-devices\.net:8883/,
    ],
    [
      'a proxy that does not reach the hub',
      new ProxyError({ host: 'proxy', port: 3128 }, 'x', { status: 502 }),
      'HUB_UNREACHABLE',
      'network',
      /Check the proxy proxy:3128/,
    ],
    [
      'an unusable file',
      new AgentError('CA_FILE_UNUSABLE', 'it contains no PEM certificate', 'Write it.'),
      'CA_FILE_UNUSABLE',
      'credentials',
      /Write it\./,
    ],
    ['429', new TwinStatusError(429, ''), 'HUB_THROTTLED', 'throttled'],
    ['403002', new TwinStatusError(403, 'the hub answered 403002'), 'HUB_QUOTA_EXCEEDED', 'quota', /next UTC day/],
    [
      'the SDK’s word for it',
      Object.assign(error('x'), { name: 'IotHubQuotaExceededError' }),
      'HUB_QUOTA_EXCEEDED',
      'quota',
    ],
    [
      '403010',
      new TwinStatusError(403, 'the hub answered 403010'),
      'HUB_TIER_UNSUPPORTED',
      'credentials',
      /standard tier/,
    ],
    ['401', new TwinStatusError(401, ''), 'CREDENTIAL_REFUSED', 'credentials'],
    [
      '404, the only sure sign of an unknown module',
      new TwinStatusError(404, ''),
      'MODULE_UNKNOWN',
      'credentials',
      /module-identity create --hub-name HUB --device-id 'dev1' --module-id 'sec'$/,
    ],
    ['500', new TwinStatusError(500, ''), 'HUB_UNREACHABLE', 'network'],
    ['400', new TwinStatusError(400, ''), 'INTERNAL', undefined],
    ['413', new TwinStatusError(413, ''), 'INTERNAL', undefined],
    ['garbage', new TwinStatusError(MALFORMED, 'not JSON'), 'TWIN_UNREADABLE', 'network'],
    ['something that is no error', 'odd', 'HUB_UNREACHABLE', 'network'],
    ['nothing', undefined, 'HUB_UNREACHABLE', 'network'],
  ];
  for (const [what, thrown, id, retryCause, remedy] of cases) {
    it(`takes ${what} for ${id}`, () => {
      const failure = classifyError(thrown, peer);
      assert.equal(failure.error.id, id, failure.message);
      assert.equal(failure.retryCause, retryCause);
      if (remedy !== undefined) assert.match(failure.error.remedy, remedy);
      assert.doesNotMatch(failure.message, /first connection/);
    });
  }

  it('comes to an end with errors that hang onto one another in a circle', () => {
    const itself: Error & { transportError?: unknown } = error('Message not acknowledged');
    itself.transportError = itself;
    assert.equal(classifyError(itself, peer).error.id, 'HUB_UNREACHABLE');
    const [a, b]: (Error & { transportError?: unknown })[] = [error('a'), error('b')];
    Object.assign(a as Error, { transportError: b });
    Object.assign(b as Error, { transportError: a });
    assert.equal(classifyError(a, peer).error.id, 'HUB_UNREACHABLE');
  });

  for (const [what, thrown] of [
    ['refused credentials', error('Connection refused: Not authorized', { code: 5 })],
    ['a certificate of the future', error('certificate is not yet valid', { code: 'CERT_NOT_YET_VALID' })],
  ] as const) {
    it(`has one remedy for ${what} while the clock is not set`, () => {
      const { error: found } = classifyError(thrown, { ...peer, now: new Date('1970-01-01T00:01:00Z') });
      assert.match(found.remedy, /^Set the device's clock \(now 1970-01-01T00:01:00.000Z\)/);
    });
  }

  for (const proof of ['token', 'certificate'] as const) {
    it(`asks for a restart after a change of a ${proof} file that systemd has copied`, async () => {
      const refusal = error('Connection refused: Not authorized', { code: 5 });
      const { remedy } = await withCopies({ '/s/k': '/c/k' }, () => classifyError(refusal, { ...peer, proof }).error);
      assert.match(remedy, /; after a change of \/s\/k, run: systemctl restart vakt\.$/);
      assert.doesNotMatch(classifyError(refusal, { ...peer, proof }).error.remedy, /restart/);
    });
  }

  it('answers retry or refused', () => {
    const { error: refusal, answer } = classifyError(new TwinStatusError(413, ''), peer);
    assert.deepEqual(answer, { status: 'refused', error: refusal });
    const busy = classifyError(new TwinStatusError(429, ''), peer);
    assert.deepEqual(busy.answer, { status: 'retry', retryCause: 'throttled', error: busy.error });
  });

  it('names what has named the host, if that is not hub.hostName', () => {
    const unknown = error('getaddrinfo ENOTFOUND contoso', { code: 'ENOTFOUND' });
    assert.match(classifyError(unknown, peer).error.remedy, /^Check hub\.hostName \(or hub\.gatewayHostName\) and/);
    const { remedy } = classifyError(unknown, { ...peer, namedBy: 'HostName in /etc/vakt/connection' }).error;
    assert.match(remedy, /^Check HostName in \/etc\/vakt\/connection and the device's DNS/);
    assert.doesNotMatch(remedy, /hub\./);
  });

  it('does not recommend hub.trustedCaFile where the identity names the authorities', () => {
    const untrusted = error('self-signed certificate in certificate chain', { code: 'SELF_SIGNED_CERT_IN_CHAIN' });
    const { remedy } = classifyError(untrusted, { ...peer, hasOwnCa: true }).error;
    assert.match(remedy, /IoT Edge's trust bundle/);
    assert.doesNotMatch(remedy, /hub\./);
  });

  it('never gives an address a second port', () => {
    const gateway = { ...peer, address: 'edge:18883' };
    assert.match(classifyError(error('connect ECONNREFUSED'), gateway).error.remedy, /reach edge:18883 by TCP/);
  });
});

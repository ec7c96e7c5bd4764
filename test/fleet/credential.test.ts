import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCredential, VARIABLE } from '../../src/fleet/credential.ts';
import { temporaryFolder } from '../harness/folders.ts';

const HUB = 'hub1.azure-devices.net';
const TEXT = `HostName=${HUB};SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0=`;
const READ = { kind: 'sharedAccessKey', hostName: HUB, policy: 'iothubowner', key: 'c2VjcmV0=' };

describe('The credential of vakt fleet', () => {
  const file = (text: string, mode = 0o600) => {
    const path = join(temporaryFolder(), 'hub.txt');
    writeFileSync(path, text, { mode });
    return path;
  };

  it('is a connection string in a file', () => {
    assert.deepEqual(readCredential({ file: file(`${TEXT}\n`) }, {}), READ);
    const gateway = 'localhost:8443';
    assert.deepEqual(readCredential({ file: file(`${TEXT};GatewayHostName=${gateway}`) }, {}), { ...READ, gateway });
  });

  it('is Microsoft Entra if a hub is named, else the variable', () => {
    const environment = { [VARIABLE]: TEXT };
    assert.deepEqual(readCredential({}, environment), READ);
    assert.deepEqual(readCredential({ hostName: HUB }, environment), { kind: 'entra', hostName: HUB });
    assert.throws(() => readCredential({ hostName: 'a b' }, {}), { id: 'CONFIG_INVALID' });
  });

  it('uses the classic name for the name of devices, and the name of services as it is', () => {
    const service = 'hub1.service.azure-devices.net';
    for (const [given, hostName] of [
      [HUB, HUB],
      ['hub1.device.azure-devices.net', HUB],
      [service, service],
      ['localhost', 'localhost'],
    ] as const) {
      assert.equal(readCredential({ hostName: given }, {}).hostName, hostName);
      assert.equal(readCredential({ file: file(TEXT.replace(HUB, given)) }, {}).hostName, hostName);
    }
  });

  it('must be one', () => {
    assert.throws(() => readCredential({}, {}), { id: 'CONFIG_INCOMPLETE', remedy: /--connection-string-file.*--hub/ });
  });

  it('must be readable by its owner only', () => {
    assert.throws(() => readCredential({ file: file(TEXT, 0o644) }, {}), { id: 'SECRET_FILE_EXPOSED' });
    assert.throws(() => readCredential({ file: '/nowhere' }, {}), { id: 'SECRET_FILE_MISSING' });
  });

  for (const [what, text] of [
    ['of a device', `HostName=${HUB};DeviceId=d;SharedAccessKey=c2VjcmV0`],
    ['without a policy', `HostName=${HUB};SharedAccessKey=c2VjcmV0`],
    ['without a key', `HostName=${HUB};SharedAccessKeyName=p`],
    ['of no host', 'HostName=a b;SharedAccessKeyName=p;SharedAccessKey=c2VjcmV0'],
    ['that is none', 'c2VjcmV0'],
  ] as const) {
    it(`is refused ${what}, and not quoted`, () => {
      assert.throws(
        () => readCredential({}, { [VARIABLE]: text }),
        (error: Error & { id?: string }) =>
          error.id === 'SECRET_FILE_MALFORMED' &&
          !error.message.includes('c2VjcmV0') &&
          error.message.includes(VARIABLE),
      );
    });
  }
});

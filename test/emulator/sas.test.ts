import assert from 'node:assert/strict';
import { covers, isSignedWith, parseSasToken, signSasToken } from '../../src/emulator/sas.ts';

const KEY = Buffer.from('0123456789abcdef').toString('base64');
const HUB = 'hub.azure-devices.net';
const expiresAt = new Date('2030-01-01T00:00:00Z');

describe('shared access signatures', () => {
  it('read back as they were signed', () => {
    const token = parseSasToken(signSasToken(`${HUB}/devices/d/modules/m`, KEY, expiresAt));
    assert.equal(token?.resource, `${HUB}/devices/d/modules/m`);
    assert.deepEqual(token.expiresAt, expiresAt);
    assert.equal(isSignedWith(token, KEY), true);
    assert.equal(isSignedWith(token, Buffer.from('another key here').toString('base64')), false);
  });

  it('verifies the signature over the unchanged resource, for any case of its escapes', () => {
    const upper = signSasToken(`${HUB}/devices/d`, KEY, expiresAt);
    const token = parseSasToken(upper.replace('%2Fdevices', '%2fdevices'));
    assert.equal(token?.resource, `${HUB}/devices/d`);
    assert.equal(isSignedWith(token, KEY), false);
  });

  it('name the policy they were signed with', () => {
    assert.equal(parseSasToken(`${signSasToken(HUB, KEY, expiresAt)}&skn=device`)?.policy, 'device');
  });

  for (const text of [
    '',
    'SharedAccessSignature',
    'SharedAccessSignature sr=a&sig=b',
    'SharedAccessSignature sr=a&sig=b&se=soon',
    'SharedAccessSignature sr=%&sig=b&se=1',
    'Bearer sr=a&sig=b&se=1',
  ]) {
    it(`does not parse "${text}"`, () => assert.equal(parseSasToken(text), undefined));
  }

  const path = ['devices', 'd1', 'modules', 'm'];
  for (const [resource, opens] of Object.entries({
    [`${HUB}/devices/d1/modules/m`]: true,
    'HUB.azure-devices.net/devices/d1/modules/m': true,
    [`${HUB}/devices/d1`]: true,
    [HUB]: true,
    [`${HUB}/devices/d%31/modules/m`]: true,
    [`${HUB}/devices/d`]: false,
    [`${HUB}/devices/D1`]: false,
    [`${HUB}/devices/d1/modules/m/x`]: false,
    [`${HUB}/devices/d1/modules/`]: false,
    'hub.azure-devices.ne': false,
    '': false,
  })) {
    it(`${opens ? 'opens' : 'does not open'} ${path.join('/')} with a token for "${resource}"`, () => {
      assert.equal(covers(resource, HUB, path), opens);
    });
  }
});

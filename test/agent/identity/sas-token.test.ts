import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { signSasToken } from '../../../src/agent/identity/sas-token.ts';

describe('signSasToken', () => {
  const key = Buffer.from('0123456789abcdef').toString('base64');

  it('signs the encoded resource and the expiry', () => {
    const { text, expiresAt } = signSasToken('h.net/devices/d!1/modules/m', key, new Date('2026-01-01T00:00:00.999Z'));
    const uri = 'h.net%2Fdevices%2Fd%211%2Fmodules%2Fm';
    const signature = createHmac('sha256', '0123456789abcdef').update(`${uri}\n1767225600`).digest('base64');
    assert.equal(text, `SharedAccessSignature sr=${uri}&sig=${encodeURIComponent(signature)}&se=1767225600`);
    assert.equal(expiresAt.toISOString(), '2026-01-01T00:00:00.000Z');
  });
});

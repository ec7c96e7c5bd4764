import {
  constants,
  createECDH,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateEncrypt,
  randomBytes,
} from 'node:crypto';

/** A key that never leaves the Keys Service: symmetric, or an EC (P-256) or RSA private key. */
export type ServiceKey =
  | { readonly type: 'symmetric'; readonly bytes: () => Buffer }
  | { readonly type: 'private'; readonly key: KeyObject };

export const symmetricKey = (base64: () => string): ServiceKey => ({
  type: 'symmetric',
  bytes: () => Buffer.from(base64(), 'base64'),
});

/** @param pem PKCS #8 */
export const privateKey = (pem: string): ServiceKey => ({ type: 'private', key: createPrivateKey(pem) });

export const newHandle = () => randomBytes(24).toString('base64');

/** @returns `undefined` if the key can't do that */
export function hmac(key: ServiceKey, message: Buffer): Buffer | undefined {
  return key.type === 'symmetric' ? createHmac('sha256', key.bytes()).update(message).digest() : undefined;
}

/** Signs a digest, PKCS #1 v1.5 without its DigestInfo, which the caller adds. @returns `undefined` for any other key than RSA */
export function rsaSign(key: ServiceKey, message: Buffer): Buffer | undefined {
  if (key.type !== 'private' || key.key.asymmetricKeyType !== 'rsa') return undefined;
  return privateEncrypt({ key: key.key, padding: constants.RSA_PKCS1_PADDING }, message);
}

/** The order of P-256 (FIPS 186-5; SEC 2, 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * Signs a digest by ECDSA (FIPS 186-5, 6.4.1), in DER. Node's own functions sign messages only, which they digest
 * themselves.
 *
 * @returns `undefined` for any other key than P-256
 */
export function ecdsaSign(key: ServiceKey, digest: Buffer): Buffer | undefined {
  if (key.type !== 'private' || key.key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return undefined;
  const secret = numberOf(Buffer.from(key.key.export({ format: 'jwk' }).d ?? '', 'base64url'));
  const hash = numberOf(digest.subarray(0, 32));
  for (;;) {
    const point = createECDH('prime256v1');
    const publicPoint = point.generateKeys(); // 0x04, x, y
    const nonce = numberOf(point.getPrivateKey());
    const r = numberOf(publicPoint.subarray(1, 33)) % ORDER;
    const s = (inverse(nonce) * (hash + r * secret)) % ORDER;
    if (r !== 0n && s !== 0n) return sequence(integer(r), integer(s));
  }
}

/** @returns `undefined` if the key has no such parameter */
export function parameterOf(key: ServiceKey, name: string): string | undefined {
  if (key.type !== 'private') return undefined;
  const { kty, x = '', y = '', n = '', e = '' } = createPublicKey(key.key).export({ format: 'jwk' });
  const base64 = (...parts: string[]) => Buffer.concat(parts.map((part) => Buffer.from(part, 'base64url')));
  if (name === 'algorithm') return kty === 'EC' ? 'ECDSA' : 'RSA';
  if (kty === 'EC' && name === 'ec-curve-oid') return Buffer.from('06082a8648ce3d030107', 'hex').toString('base64');
  if (kty === 'EC' && name === 'ec-point') return Buffer.concat([Buffer.of(4), base64(x, y)]).toString('base64');
  if (kty === 'RSA' && name === 'rsa-modulus') return base64(n).toString('base64');
  if (kty === 'RSA' && name === 'rsa-exponent') return base64(e).toString('base64');
  return undefined;
}

const numberOf = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);

/** Computed by Fermat's little theorem, since the order is prime. */
function inverse(number: bigint): bigint {
  let result = 1n;
  let power = number;
  for (let exponent = ORDER - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * power) % ORDER;
    power = (power * power) % ORDER;
  }
  return result;
}

/** DER (X.690, 8.3): two's complement, as short as possible. */
function integer(number: bigint): Buffer {
  const hex = number.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const positive = (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]);
  return Buffer.concat([Buffer.of(0x02, positive.length), positive]);
}

const sequence = (...parts: Buffer[]) => {
  const contents = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(0x30, contents.length), contents]);
};

import { X509Certificate } from 'node:crypto';

/** Minimum length of a secret, so that no match is by chance. */
const MIN_SECRET_CHARACTERS = 16;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Searches strings for secrets, in the forms in which a program might write them. */
export class SecretSearch {
  /** Name of a secret, keyed by its form. */
  readonly #forms = new Map<string, string>();

  /**
   * @param name for reports, which never contain the secret
   * @param secret text; of a PEM, every private key in it; of a connection string, its key
   */
  add(name: string, secret: string): void {
    const text = secret.trim();
    const keys = [...text.matchAll(/-----BEGIN [A-Z ]*PRIVATE KEY-----([^-]+)-----END/g)];
    if (keys.length > 0) {
      for (const [, body = ''] of keys) this.#addPem(name, body);
      return;
    }
    if (text.includes('-----BEGIN')) return void new X509Certificate(text); // public
    const [, key = text] = /SharedAccessKey=([^;]+)/.exec(text) ?? [];
    if (key.length < MIN_SECRET_CHARACTERS) throw new RangeError(`${name} is too short to be looked for`);
    this.#addText(name, key);
    if (BASE64.test(key)) this.#addBytes(name, Buffer.from(key, 'base64'));
  }

  /** @returns the name and the form of each secret that was found */
  find(text: string): string[] {
    return [...new Set([...this.#forms].filter(([form]) => text.includes(form)).map(([, what]) => what))];
  }

  #addPem(name: string, body: string): void {
    const lines = body.trim().split(/\s+/);
    for (const line of lines.filter((line) => line.length >= 2 * MIN_SECRET_CHARACTERS))
      this.#put(line, `${name}, a line of PEM`);
    this.#addBytes(name, Buffer.from(lines.join(''), 'base64'));
  }

  #addText(name: string, text: string): void {
    this.#put(text, `${name}, as it is`);
    this.#put(text.replace(/=+$/, ''), `${name}, without padding`);
    this.#put(encodeURIComponent(text), `${name}, URL-encoded`);
    this.#put(
      encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase()),
      `${name}, URL-encoded`,
    );
    this.#put(JSON.stringify(text).slice(1, -1).replaceAll('/', '\\/'), `${name}, as JSON`);
    this.#addBytes(name, Buffer.from(text));
  }

  #addBytes(name: string, bytes: Buffer): void {
    const hex = bytes.toString('hex');
    this.#put(hex, `${name}, in hex`);
    this.#put(hex.toUpperCase(), `${name}, in hex`);
    this.#put(bytes.toString('latin1'), `${name}, as bytes`);
    // Inside other data in base64, the bytes can start at any of three offsets.
    for (const before of [0, 1, 2]) {
      const shifted = Buffer.concat([Buffer.alloc(before), bytes]);
      const inner = (text: string) => text.slice(before === 0 ? 0 : 4, Math.floor(shifted.length / 3) * 4);
      this.#put(inner(shifted.toString('base64')), `${name}, in base64`);
      this.#put(inner(shifted.toString('base64url')), `${name}, in base64url`);
    }
  }

  #put(form: string, what: string): void {
    if (form.length >= MIN_SECRET_CHARACTERS && !this.#forms.has(form)) this.#forms.set(form, what);
  }
}

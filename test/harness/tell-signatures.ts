import crypto from 'node:crypto';
import { writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/*
 * Loaded into the agent's process before the agent, with --import: writes each HMAC that the agent computes, for tokens
 * and derived keys, to file descriptor 3, so that a test can search for them elsewhere. On SIGUSR2 it throws an
 * uncaught exception.
 */
const { createHmac } = crypto;
crypto.createHmac = (...args) => {
  const hmac = createHmac(...args);
  const digest = hmac.digest.bind(hmac) as (encoding?: BufferEncoding) => Buffer;
  hmac.digest = ((encoding?: BufferEncoding) => {
    const bytes = digest();
    writeSync(3, `${bytes.toString('base64')}\n`);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  }) as typeof hmac.digest;
  return hmac;
};
syncBuiltinESMExports();

process.on('SIGUSR2', () => {
  setImmediate(() => {
    throw new Error('thrown by a test');
  });
});

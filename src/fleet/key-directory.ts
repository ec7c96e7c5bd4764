import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeFileAtomic } from '../core/base/atomic-file.ts';
import { AgentError, messageOf } from '../core/base/errors.ts';
import { makeFolder } from '../core/base/paths.ts';
import { shellWord } from '../core/base/text.ts';
import { isHubId } from '../core/contract/hub-names.ts';

/** A directory of modules' keys, `DEVICE.key` each (0600), as `identity.keyFile` of the agent reads them. */
export class KeyDirectory {
  readonly #path: string;

  /** Creates it (0700) if it is missing. @throws AgentError if it can't be used, or other users can access it */
  constructor(path: string) {
    this.#path = resolve(path);
    try {
      makeFolder(this.#path, 0o700);
    } catch (error) {
      const problem = `${this.#path} cannot be created: ${messageOf(error)}`;
      throw new AgentError('CONFIG_INVALID', problem, 'Name another directory by --key-directory.');
    }
    const { mode } = statSync(this.#path);
    if ((mode & 0o077) !== 0) {
      const remedy = `Run: chmod 700 ${shellWord(this.#path)}`;
      throw new AgentError('SECRET_FILE_EXPOSED', `${this.#path} is open to other users`, remedy);
    }
  }

  has(deviceId: string): boolean {
    return existsSync(this.#file(deviceId));
  }

  /** @throws AgentError if it can't be written */
  write(deviceId: string, key: string): void {
    const file = this.#file(deviceId);
    try {
      writeFileAtomic(file, `${key}\n`);
    } catch (error) {
      const remedy = 'Free disk space there, or name another directory; then run the command again.';
      throw new AgentError('CONFIG_INVALID', `${file} cannot be written: ${messageOf(error)}`, remedy);
    }
  }

  #file(deviceId: string): string {
    if (isHubId(deviceId)) return join(this.#path, `${deviceId}.key`);
    const remedy = 'Check which hub the command connects to.';
    throw new AgentError('HUB_MISBEHAVES', `the hub returned an invalid device id: ${deviceId}`, remedy);
  }
}

import { AgentError } from '../base/errors.ts';
import { readSecretFile } from '../base/secret-file.ts';
import { type Address, hostAndPort } from './address.ts';
import { isExempt } from './no-proxy.ts';
import { type ProxyUrl, proxyUrlProblem, readProxyUrl } from './proxy-url.ts';
import type { SettingNames } from './setting-names.ts';

export interface ProxyOptions {
  /** Setting `hub.proxy`; the environment's HTTPS_PROXY and NO_PROXY hold only without it. */
  readonly proxy?: string | undefined;
  /** Setting `hub.proxyPasswordFile`. */
  readonly proxyPasswordFile?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  readonly names: SettingNames;
}

/** A proxy, and the file with the password of its user, if there is one. */
export interface ChosenProxy extends ProxyUrl {
  readonly passwordFile?: string | undefined;
}

/** Decides which hosts are reached through which proxy, and with which password. */
export class ProxyChoice {
  readonly #proxy: ChosenProxy | undefined;
  readonly #noProxy: string;

  /** @throws AgentError CONFIG_INVALID, SECRET_FILE_* */
  constructor({ proxy, proxyPasswordFile, environment, names }: ProxyOptions) {
    const url =
      proxy === undefined ? fromEnvironment(environment, names) : fromSetting(proxy, proxyPasswordFile, names);
    this.#proxy = url?.user === undefined ? url : { ...url, passwordFile: proxyPasswordFile };
    this.#noProxy = proxy === undefined ? (variable(environment, 'NO_PROXY')?.value ?? '') : '';
    this.authorization(); // reports a bad file at the start, not at the first connection
  }

  get passwordFile(): string | undefined {
    return this.#proxy?.passwordFile;
  }

  /** The proxy for a host, or `undefined` if it is reached directly. */
  of(target: Address): ChosenProxy | undefined {
    return isExempt(target, this.#noProxy) ? undefined : this.#proxy;
  }

  /** The same, with the password of the file. @throws AgentError SECRET_FILE_* */
  withPassword(target: Address): ProxyUrl | undefined {
    const proxy = this.of(target);
    if (proxy?.passwordFile === undefined) return proxy;
    return { ...proxy, password: readPassword(proxy.passwordFile) };
  }

  /**
   * The value of Proxy-Authorization (RFC 7617), if the proxy has a user. The password's file is read each time.
   *
   * @throws AgentError SECRET_FILE_*
   */
  authorization(): string | undefined {
    const { user, password, passwordFile } = this.#proxy ?? {};
    if (user === undefined) return undefined;
    const secret = passwordFile === undefined ? password : readPassword(passwordFile);
    return `Basic ${Buffer.from(`${user}:${secret ?? ''}`).toString('base64')}`;
  }
}

function fromSetting(text: string, passwordFile: string | undefined, names: SettingNames): ProxyUrl {
  const url = readProxyUrl(text);
  const problem = proxyUrlProblem(text, names.proxyPasswordFile);
  if (typeof url === 'string' || problem !== undefined) {
    const remedy = `Correct ${names.proxy}, then ${names.retry}.`;
    throw new AgentError('CONFIG_INVALID', `${names.proxy} ${problem}`, remedy);
  }
  if (url.user === undefined && passwordFile !== undefined) {
    const remedy = `Write the user into ${names.proxy}: ${url.secure ? 'https' : 'http'}://USER@${hostAndPort(url)}`;
    const what = `${names.proxyPasswordFile} is set, but ${names.proxy} has no user`;
    throw new AgentError('CONFIG_INVALID', what, remedy);
  }
  return url;
}

function fromEnvironment(environment: NodeJS.ProcessEnv, names: SettingNames): ProxyUrl | undefined {
  const found = variable(environment, 'HTTPS_PROXY');
  if (found === undefined) return undefined;
  const { name, value } = found;
  const url = readProxyUrl(value.includes('://') ? value : `http://${value}`);
  if (typeof url !== 'string') return url;
  const remedy = `Correct ${name} in ${names.environment}, or set ${names.proxy}, which overrides it.`;
  throw new AgentError('CONFIG_INVALID', `the environment variable ${name} ${url}`, remedy);
}

/** As curl does, the name in lower case first. */
function variable(environment: NodeJS.ProcessEnv, upper: string): { name: string; value: string } | undefined {
  return [upper.toLowerCase(), upper]
    .map((name) => ({ name, value: environment[name]?.trim() ?? '' }))
    .find(({ value }) => value !== '');
}

function readPassword(path: string): string {
  const password = readSecretFile(path);
  if (password !== '' && !/\p{Cc}/u.test(password)) return password;
  const what = password === '' ? 'is empty' : 'has more than one line, or control characters';
  throw new AgentError('SECRET_FILE_MALFORMED', `${path} ${what}`, `Write only the proxy's password to ${path}.`);
}

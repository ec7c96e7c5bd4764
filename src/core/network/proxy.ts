import { BlockList, isIP } from 'node:net';
import { AgentError } from '../base/errors.ts';
import { readSecretFile } from '../base/secret-file.ts';
import { type Address, hostAndPort } from './address.ts';
import { type ProxyUrl, proxyUrlProblem, readProxyUrl } from './proxy-url.ts';
import type { SettingNames } from './setting-names.ts';

/**
 * Whether NO_PROXY exempts a host. As curl reads it, entries are separated by commas or spaces: a name, which includes its
 * subdomains too, with or without a leading dot; an IP address; a network, as 10.0.0.0/8; or `*` for every host. As in
 * other programs, `*.` may precede a name, and `:port` may follow a name or an address. Names are not resolved.
 */
export const isExempt = (target: Address, noProxy: string): boolean =>
  noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matches(entry, target));

function matches(entry: string, { host, port }: Address): boolean {
  if (entry === '*') return true;
  const name = host.toLowerCase().replace(/\.$/, '');
  const network = /^\[?([0-9a-f:.]+)\]?\/(\d{1,3})$/.exec(entry);
  if (network !== null) return contains(network[1] ?? '', Number(network[2]), name);
  if (isIP(entry) === 6) return isSameAddress(entry, name);
  const [, bracketed, bare = '', wanted] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(entry) ?? [];
  if (wanted !== undefined && Number(wanted) !== port) return false;
  if (bracketed !== undefined) return isSameAddress(bracketed, name);
  if (isIP(bare) !== 0 || isIP(name) !== 0) return isSameAddress(bare, name);
  const domain = bare.replace(/^\*?\./, '').replace(/\.$/, '');
  return domain !== '' && (name === domain || name.endsWith(`.${domain}`));
}

const isSameAddress = (one: string, other: string) => contains(one, isIP(one) === 6 ? 128 : 32, other);

function contains(network: string, prefix: number, address: string): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(address) !== family || prefix > (family === 6 ? 128 : 32)) return false;
  const type = family === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(network, prefix, type);
  return list.check(address, type);
}

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

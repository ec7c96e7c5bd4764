import { type Address, bracketed, hostAndPort } from '../../core/network/address.ts';
import type { Target } from '../../core/network/network.ts';
import type { ModuleAddress, Presentation } from '../identity/identity.ts';
import { PORTS } from './transport.ts';

/** `host` or `host:port` that a module connects to. */
export const hostOf = ({ connectTo, hostName }: ModuleAddress): string => connectTo ?? hostName;

/** Whom a module trusts at an address, and the certificate that it shows there. */
export const targetOf = ({ module, proof }: Presentation, { host, port }: Address): Target => ({
  host,
  port,
  ...(module.trustedCa === undefined ? {} : { trustedCa: module.trustedCa }),
  ...(proof.kind === 'certificate' ? { certificate: proof.certificate, key: proof.key } : {}),
});

/** How messages name an address: with the port, unless that is 8883. */
export const nameOf = (address: Address): string =>
  address.port === PORTS.mqtt ? bracketed(address.host) : hostAndPort(address);

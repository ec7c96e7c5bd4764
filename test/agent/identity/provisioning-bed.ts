import { CertificateAuthority } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProvisioningEmulator, type ProvisioningOptions } from '../../../src/emulator/provisioning/service.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';

/** The real service's name, which the proxy leads to the emulator. */
export const SERVICE = 'global.azure-devices-provisioning.net';

/**
 * Two hubs and the provisioning service, under names as in Azure. A proxy leads to them, so that an agent needs no setting
 * that names a hub, and follows its device from one hub to the other.
 */
export class ProvisioningBed {
  readonly hubs: readonly [HubEmulator, HubEmulator];
  readonly service: ProvisioningEmulator;
  readonly proxy: ProxyEmulator;

  private constructor(hubs: readonly [HubEmulator, HubEmulator], service: ProvisioningEmulator, proxy: ProxyEmulator) {
    this.hubs = hubs;
    this.service = service;
    this.proxy = proxy;
  }

  static async open(
    enrolments: Pick<ProvisioningOptions, 'individuals' | 'groups'>,
    certificateAuthority?: CertificateAuthority,
  ): Promise<ProvisioningBed> {
    const authority = certificateAuthority ?? (await CertificateAuthority.create());
    const hub = (name: string) =>
      HubEmulator.start({ hostName: `${name}.azure-devices.net`, certificateAuthority: authority });
    const hubs = [await hub('hub-a'), await hub('hub-b')] as const;
    const service = await ProvisioningEmulator.start({ hubs, certificateAuthority: authority, ...enrolments });
    const proxy = await ProxyEmulator.start();
    for (const hub of hubs) proxy.routeTo(hub);
    for (const port of [443, 8883]) proxy.route(`${SERVICE}:${port}`, service.port);
    return new ProvisioningBed(hubs, service, proxy);
  }

  get proxyUrl(): string {
    return `http://localhost:${this.proxy.port}`;
  }

  get caPem(): string {
    return this.hubs[0].caPem;
  }

  /** How often the service was asked to register a device. */
  get registrations(): number {
    return this.service.requests.filter(({ operation }) => operation === 'register').length;
  }

  async close(): Promise<void> {
    await this.proxy.stop();
    await this.service.stop();
    for (const hub of this.hubs) await hub.stop();
  }
}

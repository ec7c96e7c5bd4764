import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import azureIotHub from 'azure-iothub';
import { RestApiClient } from 'azure-iothub/dist/common-http/rest_api_client.js';
import { DeviceMethod } from 'azure-iothub/dist/device_method.js';
import { systemClock } from '../../../src/core/base/clock.ts';
import { Network } from '../../../src/core/network/network.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import { HubAgent } from '../../../src/fleet/hub-agent.ts';
import { suiteFolder } from '../../harness/folders.ts';

/** The official service client, with the rights of a policy, as applications use it. */
export class ServiceClient {
  readonly registry: azureIotHub.Registry;
  readonly #client: RestApiClient;
  readonly #agent: HubAgent;

  constructor(hub: HubEmulator, policy = 'iothubowner') {
    const { HostName = '', SharedAccessKey = '' } = azureIotHub.ConnectionString.parse(
      hub.serviceConnectionString(policy),
    );
    const token = azureIotHub.SharedAccessSignature.create(HostName, policy, SharedAccessKey, 1);
    const config = { host: HostName, sharedAccessSignature: token };
    this.#agent = new HubAgent({ network: networkTo(hub), gateway: `localhost:${hub.restPort}`, clock: systemClock });
    this.#client = new RestApiClient(config, 'test');
    this.registry = new azureIotHub.Registry(config, this.#client);
    this.#client.setOptions({ http: { agent: this.#agent } });
  }

  /** All rows of a query, and how many pages they came in. */
  async query(text: string, pageSize?: number): Promise<{ rows: Record<string, unknown>[]; pages: number }> {
    const query = this.registry.createQuery(text, pageSize);
    const rows: Record<string, unknown>[] = [];
    let pages = 0;
    while (query.hasMoreResults) {
      const { result } = await query.next(query.continuationToken);
      rows.push(...(result as Record<string, unknown>[]));
      pages += 1;
    }
    return { rows, pages };
  }

  async call(deviceId: string, moduleId: string, params: DeviceMethodParams): Promise<unknown> {
    const answer = await new DeviceMethod(params, this.#client).invokeOnModule(deviceId, moduleId);
    return (answer as unknown as { device: unknown }).device;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Trusts the emulator's authority. */
export function networkTo(hub: HubEmulator): Network {
  const trustedCaFile = join(suiteFolder(), 'ca.pem');
  writeFileSync(trustedCaFile, hub.caPem);
  return new Network({ trustedCaFile, environment: {}, clock: systemClock });
}

type DeviceMethodParams = ConstructorParameters<typeof DeviceMethod>[0];

/** What a promise of the client was refused by: the status, the hub's name of the error, and its text. */
export async function refusalOf(promise: Promise<unknown>): Promise<[number, string, string]> {
  try {
    await promise;
  } catch (error) {
    const { response, responseBody } = error as {
      response?: { statusCode: number; headers: Record<string, string> };
      responseBody?: string;
    };
    if (response === undefined) throw error;
    const { Message } = JSON.parse(responseBody ?? '{}') as { Message: string };
    return [response.statusCode, response.headers['iothub-errorcode'] ?? '', Message.split(';').slice(1).join(';')];
  }
  throw new Error('it was not refused');
}

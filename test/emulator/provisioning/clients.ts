import { Agent, request } from 'node:https';
import { createRequire } from 'node:module';
import { connect } from 'node:tls';
import { MqttBase } from 'azure-iot-mqtt-base';
import provisioning, { type RegistrationResult } from 'azure-iot-provisioning-device';
import httpTransport from 'azure-iot-provisioning-device-http';
import mqttTransport from 'azure-iot-provisioning-device-mqtt';
import symmetricKey from 'azure-iot-security-symmetric-key';
import x509 from 'azure-iot-security-x509';
import mqtt from 'mqtt';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours } from '../../../src/core/base/duration.ts';
import { signSasToken } from '../../../src/emulator/sas.ts';

/** A service as its clients see it. */
interface Server {
  readonly port: number;
  readonly caPem: string;
}
interface ProvisioningServer extends Server {
  readonly endpoint: string;
  readonly idScope: string;
}

export type SdkTransport = 'https' | 'mqtt' | 'mqttWebSocket';

/** What a device proves itself with: a key, or a certificate with its private key, PEM. */
export type Secret = { readonly key: string } | { readonly cert: string; readonly key: string };

/** Registers by the provisioning SDK's own client, as applications do. */
export async function register(
  service: ProvisioningServer,
  transport: SdkTransport,
  registrationId: string,
  secret: Secret,
  idScope = service.idScope,
): Promise<RegistrationResult> {
  const security =
    'cert' in secret
      ? new x509.X509Security(registrationId, { cert: secret.cert, key: secret.key })
      : new symmetricKey.SymmetricKeySecurityClient(registrationId, secret.key);
  const client = provisioning.ProvisioningDeviceClient.create(
    service.endpoint,
    idScope,
    transport === 'https' ? https(service) : overMqtt(service, transport),
    security as never, // the SDK's packages depend on different versions of azure-iot-common, whose types differ
  );
  return (await client.register()) as RegistrationResult;
}

/** The SDK knows neither a port nor a CA for HTTPS; both are given by an agent. */
function https(service: Server) {
  const sdk = createRequire(createRequire(import.meta.url).resolve('azure-iot-provisioning-device-http'));
  const { Http } = sdk('azure-iot-http-base') as { Http: new () => { setOptions(options: object): void } };
  const base = new Http();
  const agent = new Agent();
  Object.assign(agent, {
    createConnection: (options: object) =>
      connect({ ...options, host: 'localhost', servername: 'localhost', port: service.port, ca: service.caPem }),
  });
  base.setOptions({ http: { agent } });
  return new httpTransport.Http(base as never);
}

function overMqtt(service: Server, transport: 'mqtt' | 'mqttWebSocket') {
  const base = new MqttBase({
    connect: (uri: string, options: mqtt.IClientOptions) => {
      // MQTT.js hands TLS options of a WebSocket to ws separately.
      const wsOptions = { ca: service.caPem, cert: options.cert, key: options.key } as object;
      return mqtt.connect(withPort(uri, service.port), { ...options, ca: service.caPem, wsOptions });
    },
  });
  return transport === 'mqtt' ? new mqttTransport.Mqtt(base as never) : new mqttTransport.MqttWs(base as never);
}

/** The SDK appends `:443` to the host of a WebSocket. */
const withPort = (uri: string, port: number) =>
  uri.replace(/:443(?=\/)/, '').replace(/localhost(:\d+)?/, `localhost:${port}`);

/** A token of a device, good for an hour. */
export const token = (
  registrationId: string,
  key: string,
  { idScope = '0ne00000001', policy = 'registration', expiresAt = inAnHour() } = {},
) => {
  const signed = signSasToken(`${idScope}/registrations/${registrationId}`, key, expiresAt);
  return policy === '' ? signed : `${signed}&skn=${policy}`;
};

const inAnHour = () => new Date(systemClock.now().getTime() + hours(1));

export interface HttpResult {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  /** The body, if it is JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly body: any;
}

/** A bare HTTPS client, which sends exactly the requests of the test. */
export function ask(
  service: Server,
  method: string,
  path: string,
  options: { authorization?: string; body?: unknown; cert?: string; key?: string } = {},
): Promise<HttpResult> {
  const { authorization, body, ...certificate } = options;
  return new Promise((resolve, reject) => {
    const headers = authorization === undefined ? {} : { authorization };
    const common = { host: 'localhost', port: service.port, ca: service.caPem, agent: false as const };
    const client = request({ ...common, method, path, headers, ...certificate }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      const json = response.headers['content-type']?.includes('json') ? JSON.parse(text) : undefined;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: json });
    });
    client.on('error', reject);
    client.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

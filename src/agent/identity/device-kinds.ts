import * as v from 'valibot';
import { toAgentError } from '../../core/base/errors.ts';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import { secretFile } from '../../core/contract/local-schemas.ts';
import { readClientCertificate, secretLinesOf } from './certificate-file.ts';
import type { Identity, IdentityContext, ModuleAddress, PresentOptions } from './identity.ts';
import {
  CERTIFICATE_FILE,
  CERTIFICATE_KEY_FILE,
  CREATE_MODULE,
  DEVICE_ID,
  identityKind,
  MODULE_ID,
  moduleAddress,
} from './kind.ts';
import type { DeviceProof } from './module-registry.ts';
import type { RegisteredModule } from './registered-module.ts';
import { checkedKey } from './sas-token.ts';

export interface DeviceIdentityOptions {
  readonly kind: string;
  /** What `proof` reads. */
  readonly files: readonly string[];
  readonly module: ModuleAddress;
  /** Setting `identity.createModule`. */
  readonly createModule: boolean;
  /** Names the device's credential in remedies: `identity.keyFile /etc/vakt/secrets/device.key`. */
  readonly credential: string;
  /** Reads the device's credential. @throws HubFailure */
  readonly proof: (options: PresentOptions) => Promise<DeviceProof>;
  /** The device's secrets in memory. */
  readonly secrets: () => readonly string[];
  readonly context: IdentityContext;
}

/** An identity whose device reads the module's keys from the hub's registry. */
export function deviceIdentity({ kind, files, module, proof, secrets, ...options }: DeviceIdentityOptions): Identity {
  let registered: RegisteredModule | undefined;
  return {
    kind,
    files,
    async present(how) {
      const device = await proof(how);
      const { RegisteredModule } = await import('./registered-module.ts');
      registered ??= new RegisteredModule(options);
      return registered.present(module, device, how);
    },
    accepted: () => registered?.accepted(),
    failed: (_, failure) => registered?.failed(failure) ?? false,
    secrets: () => [...secrets(), ...(registered?.secrets() ?? [])],
  };
}

/** The device has a key; with it the agent reads the module's keys from the hub's registry. */
export const deviceKey = identityKind({
  kind: 'deviceKey',
  schema: v.strictObject({
    kind: v.literal('deviceKey'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    keyFile: secretFile("File with the device's key in base64; only its owner may be able to read it."),
    createModule: CREATE_MODULE,
  }),
  create({ kind, deviceId, moduleId, keyFile, createModule }, context) {
    const module = moduleAddress({ deviceId, moduleId }, context.hub);
    const read = () => checkedKey(readSecretFile(keyFile), keyFile, 'device');
    let key = read(); // reports a bad file at the start
    return deviceIdentity({
      kind,
      files: [keyFile],
      module,
      createModule,
      credential: `the key in ${keyFile}`,
      async proof({ onStep }) {
        try {
          key = read();
        } catch (error) {
          throw new HubFailure(toAgentError(error), 'credentials');
        }
        onStep?.({ name: 'identity', text: `${deviceId}/${moduleId} at ${module.hostName}, by ${kind}` });
        return { kind: 'key', key };
      },
      secrets: () => [key],
      context,
    });
  },
});

/** The device has a certificate; with it the agent reads the module's keys from the hub's registry. */
export const deviceCertificate = identityKind({
  kind: 'deviceCertificate',
  schema: v.strictObject({
    kind: v.literal('deviceCertificate'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    certificateFile: CERTIFICATE_FILE,
    keyFile: CERTIFICATE_KEY_FILE,
    createModule: CREATE_MODULE,
  }),
  create({ kind, deviceId, moduleId, createModule, ...files }, context) {
    const { clock, hub } = context;
    const module = moduleAddress({ deviceId, moduleId }, hub);
    let { key } = readClientCertificate(files); // reports bad files at the start
    return deviceIdentity({
      kind,
      files: [files.certificateFile, files.keyFile],
      module,
      createModule,
      credential: `the certificate in ${files.certificateFile}`,
      async proof(options) {
        const { usableCertificate } = await import('./client-certificate.ts');
        const expected = { commonName: deviceId, settings: 'identity.deviceId', orThumbprint: true } as const;
        const { proof } = await usableCertificate(files, expected, { ...options, clock });
        ({ key } = proof);
        return proof;
      },
      secrets: () => secretLinesOf(key),
      context,
    });
  },
});

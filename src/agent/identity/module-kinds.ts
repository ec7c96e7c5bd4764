import * as v from 'valibot';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { secretFile } from '../../core/contract/local-schemas.ts';
import { readClientCertificate, secretLinesOf } from './certificate-file.ts';
import type { Identity, Presentation, PresentOptions } from './identity.ts';
import { CERTIFICATE_FILE, CERTIFICATE_KEY_FILE, DEVICE_ID, identityKind, MODULE_ID, moduleAddress } from './kind.ts';
import { checkedKey } from './sas-token.ts';
import { SharedKeyIdentity } from './shared-keys.ts';

/** The module's ids are in the configuration, its keys are in files. */
export const moduleKey = identityKind({
  kind: 'moduleKey',
  schema: v.strictObject({
    kind: v.literal('moduleKey'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    keyFile: secretFile('File with the key in base64; only its owner may be able to read it.'),
    secondaryKeyFile: v.optional(
      secretFile('File with the secondary key, which is used when the hub refuses the first one.'),
    ),
  }),
  create({ kind, deviceId, moduleId, keyFile, secondaryKeyFile }, { hub, clock }) {
    const module = moduleAddress({ deviceId, moduleId }, hub);
    const keyIn = (file: string) => checkedKey(readSecretFile(file), file);
    return new SharedKeyIdentity({
      kind,
      files: secondaryKeyFile === undefined ? [keyFile] : [keyFile, secondaryKeyFile],
      read: () => ({
        module,
        keys: [
          { source: 'primary', key: keyIn(keyFile) },
          ...(secondaryKeyFile === undefined ? [] : [{ source: 'secondary', key: keyIn(secondaryKeyFile) }]),
        ],
      }),
      clock,
    });
  },
});

/** The module has a certificate of its own, registered by thumbprint or signed by an authority that the hub knows. */
export const moduleCertificate = identityKind({
  kind: 'moduleCertificate',
  schema: v.strictObject({
    kind: v.literal('moduleCertificate'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    certificateFile: CERTIFICATE_FILE,
    keyFile: CERTIFICATE_KEY_FILE,
  }),
  create({ kind, deviceId, moduleId, ...files }, { hub, clock }): Identity {
    const module = moduleAddress({ deviceId, moduleId }, hub);
    let { key } = readClientCertificate(files); // reports bad files at the start
    return {
      kind,
      isLocal: true,
      files: [files.certificateFile, files.keyFile],
      async present(options: PresentOptions): Promise<Presentation> {
        const { usableCertificate } = await import('./client-certificate.ts');
        const expected = {
          commonName: `${deviceId}/${moduleId}`,
          settings: 'identity.deviceId and identity.moduleId',
          orThumbprint: true,
        };
        const { proof } = await usableCertificate(files, expected, { ...options, clock });
        ({ key } = proof);
        return { module, proof, source: 'primary' };
      },
      secrets: () => secretLinesOf(key),
    };
  },
});

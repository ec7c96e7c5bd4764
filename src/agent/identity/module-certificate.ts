import * as v from 'valibot';
import { readClientCertificate, secretLinesOf } from './certificate-file.ts';
import type { Identity, Presentation, PresentOptions } from './identity.ts';
import { identityKind } from './kind.ts';
import { CERTIFICATE_FILE, CERTIFICATE_KEY_FILE, DEVICE_ID, MODULE_ID, moduleAddress } from './module-settings.ts';

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
        };
        const { proof } = await usableCertificate(files, expected, { ...options, clock });
        ({ key } = proof);
        return { module, proof, source: 'primary' };
      },
      secrets: () => secretLinesOf(key),
    };
  },
});

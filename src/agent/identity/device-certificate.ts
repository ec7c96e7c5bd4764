import * as v from 'valibot';
import { readClientCertificate, secretLinesOf } from './certificate-file.ts';
import { deviceIdentity } from './device-identity.ts';
import { identityKind } from './kind.ts';
import {
  CERTIFICATE_FILE,
  CERTIFICATE_KEY_FILE,
  CREATE_MODULE,
  DEVICE_ID,
  MODULE_ID,
  moduleAddress,
} from './module-settings.ts';

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
        const expected = { commonName: deviceId, settings: 'identity.deviceId' };
        const { proof } = await usableCertificate(files, expected, { ...options, clock });
        ({ key } = proof);
        return proof;
      },
      secrets: () => secretLinesOf(key),
      context,
    });
  },
});

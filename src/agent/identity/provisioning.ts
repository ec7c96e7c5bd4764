import * as v from 'valibot';
import { hostName, secretFile, text } from '../../core/contract/local-schemas.ts';
import type { Identity } from './identity.ts';
import { CERTIFICATE_FILE, CREATE_MODULE, identityKind, MODULE_ID, namedBy } from './kind.ts';
import { type AttestationFiles, filesOf, readSecrets } from './provisioning/attestation.ts';
import type { ProvisionedDevice } from './provisioning/identity.ts';

/** Source: "Terminology used with Azure IoT Hub Device Provisioning Service", Registration ID. */
const REGISTRATION_ID = /^[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]$/;
/** As the service makes them, `0ne00A12B34`. It becomes a part of a path and of a topic. */
const ID_SCOPE = /^[A-Za-z0-9]{1,64}$/;

const WAYS =
  'must have one of keyFile (the key of its own enrolment), groupKeyFile (the key of its enrolment group), ' +
  'or certificateFile with keyFile (an X.509 certificate with its private key)';

interface Files {
  readonly keyFile?: string | undefined;
  readonly groupKeyFile?: string | undefined;
  readonly certificateFile?: string | undefined;
}

/** @returns `undefined` unless exactly one of the three ways is given */
function attestationOf({ keyFile, groupKeyFile, certificateFile }: Files): AttestationFiles | undefined {
  if (groupKeyFile !== undefined) {
    return keyFile === undefined && certificateFile === undefined ? { proof: 'groupKey', groupKeyFile } : undefined;
  }
  if (keyFile === undefined) return undefined;
  return certificateFile === undefined ? { proof: 'key', keyFile } : { proof: 'certificate', certificateFile, keyFile };
}

/** A device that the Device Provisioning Service assigns to a hub. */
export const provisioning = identityKind({
  kind: 'provisioning',
  schema: v.pipe(
    v.strictObject({
      kind: v.literal('provisioning'),
      idScope: v.pipe(
        text('The ID scope of the Device Provisioning Service.'),
        v.regex(ID_SCOPE, 'must be an ID scope, such as "0ne00A12B34"'),
      ),
      registrationId: v.pipe(
        text("The device's registration id; with a certificate, its CN."),
        v.regex(
          REGISTRATION_ID,
          'must have 1 to 128 letters, digits and ". _ : -", and end with a letter, a digit or "-"',
        ),
      ),
      keyFile: v.optional(
        secretFile(
          "File with the key of the device's own enrolment in base64, or with the private key of its certificate in PEM form.",
        ),
      ),
      groupKeyFile: v.optional(
        secretFile("File with the key of the enrolment group in base64; the device's key is derived from it."),
      ),
      certificateFile: v.optional(CERTIFICATE_FILE),
      endpoint: v.optional(hostName('The service, `host` or `host:port`.'), 'global.azure-devices-provisioning.net'),
      moduleId: MODULE_ID,
      createModule: CREATE_MODULE,
    }),
    v.check((settings) => attestationOf(settings) !== undefined, WAYS),
  ),
  create({ kind, ...settings }, context): Identity {
    const attestation = attestationOf(settings);
    if (attestation === undefined) throw new RangeError(`identity ${WAYS}`); // the schema has checked it
    const { idScope, registrationId, endpoint, moduleId, createModule } = settings;
    const first = readSecrets(attestation, registrationId); // reports bad files at the start
    let device: ProvisionedDevice | undefined;
    return {
      kind,
      files: filesOf(attestation),
      namedBy: namedBy(`the hub that ${endpoint} has assigned to ${registrationId}`, context.hub),
      async present(options) {
        const { ProvisionedDevice } = await import('./provisioning/identity.ts');
        device ??= new ProvisionedDevice({
          idScope,
          registrationId,
          attestation,
          endpoint,
          moduleId,
          createModule,
          context,
        });
        return device.present(options);
      },
      accepted: () => device?.accepted(),
      failed: (_, failure) => device?.failed(failure) ?? false,
      secrets: () => device?.secrets() ?? first,
    };
  },
});

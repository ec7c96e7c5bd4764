import { randomUUID } from 'node:crypto';

/** A refusal in the service's format. */
export class ProvisioningError extends Error {
  override readonly name = 'ProvisioningError';
  readonly status: number;
  readonly errorCode: number;

  /** @param reason for the log; the device receives only `message`, as from the service */
  constructor(errorCode: number, message: string, reason = message) {
    super(message);
    this.errorCode = errorCode;
    this.status = Math.floor(errorCode / 1_000);
    this.reason = reason;
  }

  readonly reason: string;
}

/** The body of an error. Source: REST reference, ProvisioningServiceErrorDetails. */
export const errorDetails = (errorCode: number, message: string, now: Date) => ({
  errorCode,
  trackingId: randomUUID(),
  message,
  timestampUtc: now.toISOString(),
});

/**
 * The codes that devices have reported: azure-iot-sdk-c #2362, vscode-iot-workbench #590,
 * rwatjen/AzureIoTDPSCertificates #3, azure-docs #57082.
 */
export const unauthorized = (reason: string) => new ProvisioningError(401002, 'Unauthorized', reason);
export const invalidCertificate = (reason: string) => new ProvisioningError(401002, 'Invalid certificate', reason);
export const unknownAuthority = (reason: string) => new ProvisioningError(401002, 'CA certificate not found', reason);
export const unknownEnrollment = (reason: string) => new ProvisioningError(404201, 'Enrollment not found', reason);
export const unknownOperation = (reason: string) => new ProvisioningError(404202, 'Registration not found', reason);
export const badRequest = (reason: string) => new ProvisioningError(400004, 'Bad request', reason);

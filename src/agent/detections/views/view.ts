export type { View } from '../subject.ts';

/** A process start, as the kernel reports it. */
export interface ProcessStart {
  readonly executable: string;
  /** Arguments joined by spaces, argv[0] first. */
  readonly commandLine: string;
  /** The exact arguments, if known. */
  readonly argv?: readonly string[] | undefined;
  readonly currentDirectory?: string | undefined;
}

export type { View } from '../subject.ts';

/** A process start, as the kernel reports it. */
export interface ProcessStart {
  readonly executable: string;
  /** Arguments joined by one blank, argv[0] first. */
  readonly commandLine: string;
  /** The same with exact bounds, if known. */
  readonly argv?: readonly string[] | undefined;
  readonly currentDirectory?: string | undefined;
}

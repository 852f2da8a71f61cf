import type { FileObject as ApiFileObject } from '../shared/api/file-facts.ts';

export type { BatchObject, BatchStatus } from '../shared/api/batch-object.ts';
export type { BatchCost, CostPage } from '../shared/api/cost.ts';
export type { LineStory } from '../shared/api/explain.ts';
export type { Health } from '../shared/api/ops.ts';
export type { CommandBody, CommandKind, ControlAnswer, ControlPage, StatusAnswer } from '../shared/api/ops-control.ts';
export type { ModelCheck, ModelCheckPage, ModelPage, ModelShown } from '../shared/api/ops-models.ts';
export type FileObject = ApiFileObject;

export type CloudName = 'aws' | 'azure';

/** One page of a list, newest first. */
export interface Page<T> {
  object: 'list';
  data: T[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}

/** What `POST /v1/batches` takes. */
export interface BatchRequest {
  input_file_id: string;
  endpoint: string;
  /** Default: `24h`, the only window there is. */
  completion_window?: '24h';
  metadata?: Record<string, string> | null;
  output_expires_after?: { anchor: 'created_at'; seconds: number } | null;
}

export interface CallOptions {
  signal?: AbortSignal;
}

import type { Json, JsonObject } from '../../journal/json.ts';

/**
 * What we use of Bedrock's Converse API, as its SDK wants it: bytes are bytes, not base64.
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (2026-11)
 */
export interface ConverseRequest {
  modelId: string;
  messages: ConverseMessage[];
  system?: { text: string }[];
  inferenceConfig?: { maxTokens?: number; temperature?: number; topP?: number; stopSequences?: string[] };
  toolConfig?: { tools: ConverseTool[]; toolChoice?: ConverseToolChoice };
  outputConfig?: {
    textFormat: {
      type: 'json_schema';
      structure: { jsonSchema: { schema: string; name?: string; description?: string } };
    };
  };
  requestMetadata?: Record<string, string>;
}

export interface ConverseMessage {
  role: 'user' | 'assistant';
  content: ConverseBlock[];
}

export type ConverseBlock =
  | { text: string }
  | { image: { format: ImageFormat; source: { bytes: Uint8Array } } }
  | { toolUse: { toolUseId: string; name: string; input: Json } }
  | { toolResult: { toolUseId: string; content: { text: string }[] } };

export type ImageFormat = 'png' | 'jpeg' | 'gif' | 'webp';

export interface ConverseTool {
  toolSpec: { name: string; description?: string; inputSchema: { json: JsonObject }; strict?: boolean };
}

export type ConverseToolChoice = { auto: JsonObject } | { any: JsonObject } | { tool: { name: string } };

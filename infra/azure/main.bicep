// The Azure site: a storage account with two containers, a Service Bus namespace with two queues, the function app, and
// the managed identity that it acts as. Deploy into a resource group of its own:
//   az deployment group create -g holdfast -f infra/azure/main.bicep -p name=holdfastprod …
// then publish the root of the repository (`npm run build` first): func azure functionapp publish <name>-functions

@description('Prefix of every name: 3 to 20 lower-case letters and digits. The storage account is called exactly this.')
@minLength(3)
@maxLength(20)
param name string
param location string = resourceGroup().location

@description('OpenAI-compatible server for models that the configuration does not name, with /v1')
param modelUrl string = ''
@secure()
param modelKey string = ''

param awsRegion string
param awsAccount string
@secure()
param awsAccessKeyId string = ''
@secure()
param awsSecretAccessKey string = ''

param witnessEndpoint string
@secure()
param witnessKeyId string
@secure()
param witnessKey string
@description('32 bytes in base64, the same as in the AWS site')
@secure()
param witnessContentKey string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-identity'
  location: location
}

// ---- store ----

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_ZRS' }
  properties: {
    allowBlobPublicAccess: false
    // Presigned addresses are user-delegation SAS, which need no account key.
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

// Versioning is a property of the account, so `state`, which must not keep versions, has them expire at once.
resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: { isVersioningEnabled: true }
}

resource journal 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'holdfast-journal'
}

resource state 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'holdfast-state'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'function-packages'
}

// No rule ever expires a current version: retention ends by a tombstone, written first.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'journal-versions'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['holdfast-journal/'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: 30 } } }
          }
        }
        {
          name: 'state-versions'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['holdfast-state/'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: 0 } } }
          }
        }
      ]
    }
  }
}

// ---- queues ----

resource namespace 'Microsoft.ServiceBus/namespaces@2022-10-01-preview' = {
  name: name
  location: location
  sku: { name: 'Standard', tier: 'Standard' }
  properties: { disableLocalAuth: true, minimumTlsVersion: '1.2' }
}

var queueNames = ['holdfast-intake', 'holdfast-work']

resource queues 'Microsoft.ServiceBus/namespaces/queues@2022-10-01-preview' = [
  for queue in queueNames: {
    parent: namespace
    name: queue
    properties: {
      // The host renews it while a message is worked; a process that dies loses its messages for no longer than this.
      lockDuration: 'PT1M'
      // Attempts are counted in the journal. This is for what nobody can read.
      maxDeliveryCount: 1000
      // What comes again later is sent as a copy and then completed. Where completing fails, the next copy of the same
      // message has the same id, and is dropped. Cannot be changed on a queue that stands.
      requiresDuplicateDetection: true
      duplicateDetectionHistoryTimeWindow: 'PT1H'
      defaultMessageTimeToLive: 'P14D'
      // A pointer that expires is no loss, and no case for a human: the sweeper sends it again.
      deadLetteringOnMessageExpiration: false
      maxSizeInMegabytes: 5120
    }
  }
]

// ---- rights ----

// Storage Blob Data Owner (the host keeps its locks and its package here, too), Service Bus Data Owner (counts need
// Manage), Storage Queue Data Contributor and Table Data Contributor (what the Functions host asks for).
var storageRoles = [
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
]

resource storageRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in storageRoles: {
    name: guid(storage.id, identity.id, role)
    scope: storage
    properties: {
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

var serviceBusDataOwner = '090c5cfd-751d-490a-894a-3ce6f1109419'

resource queueRights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(namespace.id, identity.id, serviceBusDataOwner)
  scope: namespace
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', serviceBusDataOwner)
  }
}

// ---- functions ----

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: '${name}-plan'
  location: location
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: { Application_Type: 'web' }
}

var settings = {
  AzureWebJobsStorage__accountName: storage.name
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  // Bytes: 210 MB, for input files of 200 MB. The host's own default is 100 MB.
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '220200960'
  // Which identity the SDKs act as.
  AZURE_CLIENT_ID: identity.properties.clientId
  HOLDFAST_SERVICEBUS__fullyQualifiedNamespace: '${namespace.name}.servicebus.windows.net'
  HOLDFAST_SERVICEBUS__credential: 'managedidentity'
  HOLDFAST_SERVICEBUS__clientId: identity.properties.clientId
  HOLDFAST_SITE: 'azure'
  HOLDFAST_AZURE_REGION: location
  HOLDFAST_AZURE_ACCOUNT: storage.name
  HOLDFAST_AZURE_NAMESPACE: namespace.name
  HOLDFAST_AZURE_MODEL_URL: modelUrl
  HOLDFAST_AZURE_MODEL_KEY: modelKey
  HOLDFAST_AWS_REGION: awsRegion
  HOLDFAST_AWS_ACCOUNT: awsAccount
  AWS_ACCESS_KEY_ID: awsAccessKeyId
  AWS_SECRET_ACCESS_KEY: awsSecretAccessKey
  HOLDFAST_WITNESS_ENDPOINT: witnessEndpoint
  HOLDFAST_WITNESS_KEY_ID: witnessKeyId
  HOLDFAST_WITNESS_KEY: witnessKey
  HOLDFAST_WITNESS_CONTENT_KEY: witnessContentKey
}

resource functions 'Microsoft.Web/sites@2024-04-01' = {
  name: '${name}-functions'
  location: location
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      minTlsVersion: '1.2'
      appSettings: [for setting in items(settings): { name: setting.key, value: setting.value }]
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages.name}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identity.id }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: 100
        // Per-function scaling starts from none: one instance stays, so that the timer and the front door answer at once.
        alwaysReady: [{ name: 'http', instanceCount: 1 }]
      }
      runtime: { name: 'node', version: '24' }
    }
  }
  dependsOn: [storageRights, queueRights, queues]
}

output api string = 'https://${functions.properties.defaultHostName}/v1'
output principal string = identity.properties.principalId

// An outage of the Azure site for drills in staging and production, by the provider's own tool (Azure Chaos Studio): the
// function app is stopped for `duration`, and started again.
//   az deployment group create -g holdfast -f infra/drills/azure-chaos.bicep -p name=holdfastprod
//   az rest --method post --url https://management.azure.com<experiment id>/start?api-version=2024-01-01
// What is rehearsed is still a drill of Holdfast: start the experiment, and run a file of kind `outage` whose method begins
// with the action `struck` and waits for the takeover. `.../cancel` ends it at once.
// Never deployed from this repository. Every id and shape below is held against the documentation:
// @source https://learn.microsoft.com/azure/chaos-studio/chaos-studio-fault-library (App Service Stop: target type
//   Microsoft-AppService, capability Stop-1.0, continuous, no parameters, for Azure Functions as well; 2026-11)
// @source https://learn.microsoft.com/azure/chaos-studio/chaos-studio-bicep (target, capability, experiment; 2026-11)

@description('As in main.bicep')
param name string
param location string = resourceGroup().location
@description('ISO 8601, at most an hour')
param duration string = 'PT5M'

resource functions 'Microsoft.Web/sites@2024-04-01' existing = {
  name: '${name}-functions'
}

resource target 'Microsoft.Chaos/targets@2024-01-01' = {
  name: 'Microsoft-AppService'
  scope: functions
  properties: {}
}

resource capability 'Microsoft.Chaos/targets/capabilities@2024-01-01' = {
  parent: target
  name: 'Stop-1.0'
}

resource experiment 'Microsoft.Chaos/experiments@2024-01-01' = {
  name: '${name}-functions-stop'
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    selectors: [
      {
        id: 'functions'
        type: 'List'
        targets: [{ type: 'ChaosTarget', id: target.id }]
      }
    ]
    steps: [
      {
        name: 'outage'
        branches: [
          {
            name: 'functions'
            actions: [
              {
                type: 'continuous'
                name: 'urn:csci:microsoft:appService:stop/1.0'
                duration: duration
                selectorId: 'functions'
                parameters: []
              }
            ]
          }
        ]
      }
    ]
  }
  dependsOn: [capability]
}

// Website Contributor, on the function app alone.
var websiteContributor = 'de139f84-1756-47ae-9be6-808fbbe84772'

resource rights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(functions.id, experiment.id, websiteContributor)
  scope: functions
  properties: {
    principalId: experiment.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', websiteContributor)
  }
}

output experiment string = experiment.id

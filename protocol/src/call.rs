//! The calls that a supervisor can make of a worker.
//!
//! To add a call: define its argument and its reply in a module such as
//! [`simulation`](crate::simulation), then add one line to the table below. The worker stops
//! compiling until its world implements [`Serve`] for the new call.

use serde::{Deserialize, Serialize};

use crate::actuation::{
    ActuatorInfos, Actuators, ApplyForce, DescribeActuators, ForceApplied, Joints, ReadActuators,
    ReadJoints,
};
use crate::analysis::{
    CastRays, ComputeJacobian, Distance, Jacobian, Linearization, Linearize, MapScene,
    MeasureDistance, RayHits, SceneMap,
};
use crate::diagnose::{Diagnose, Diagnosis};
use crate::editing::{ReplaceModel, Replaced};
use crate::fault::Fault;
use crate::model::{
    AdoptState, DescribeModel, ListModels, LoadModel, ModelDescription, ModelSummary, Models,
    RestoreModel, Restored, SaveModel, Saved, UnloadModel, Unloaded,
};
use crate::modify::{ModelModified, ModifyModel, Randomize};
use crate::motion::{
    ExecuteTrajectory, Executed, IkSolution, PlanTrajectory, SolveIk, TrajectoryPlan,
};
use crate::observe::{
    BodyStates, Contacts, Energy, Forces, GetBodies, GetContacts, GetEnergy, GetForces, GetSensors,
    SensorData,
};
use crate::profiling::{MeasureMemory, ModelMemories, PhaseTimes, TimePhases};
use crate::recording::{
    AttachRecording, Layout, PlanRecording, RecordingAttached, RecordingStarted, RecordingStopped,
    StartRecording, StopRecording,
};
use crate::rollout::{RolledOut, Rollout};
use crate::session::{CloseSession, Listen, OpenSession, SessionClosed, SessionOpened};
use crate::simulation::{Applied, Pause, Reset, Run, RunStatus, Step, Stepped};
use crate::state::{GetState, SetState, State};
use crate::sweep::{Sweep, Swept};
use crate::viewer::{AdmitViewers, ViewersAdmitted};

/// A request paired, in the type system, with the only reply that can answer it.
pub trait Call: Into<Request> {
    /// What the worker answers when the call succeeds.
    type Reply;

    /// Takes the reply out of an answer, if it is of the right kind.
    fn reply(answer: Reply) -> Option<Self::Reply>;
}

/// Answers one kind of call.
pub trait Serve<C: Call> {
    /// Carries out the call for the session in `slot`.
    fn serve(&mut self, slot: u32, call: C) -> Result<C::Reply, Fault>;
}

macro_rules! calls {
    ($($call:ident => $reply:ident),* $(,)?) => {
        /// Every call, as it travels on the wire.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Request {
            $(
                #[doc = concat!("Answered by [`", stringify!($reply), "`].")]
                $call($call),
            )*
        }

        /// Every reply, by the call that it answers.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Reply {
            $(
                #[doc = concat!("Answers [`", stringify!($call), "`].")]
                $call($reply),
            )*
        }

        impl Request {
            /// Hands the call to whoever serves its kind.
            pub fn serve_with<S: $(Serve<$call> +)*>(
                self,
                server: &mut S,
                slot: u32,
            ) -> Result<Reply, Fault> {
                match self {
                    $(Self::$call(call) => server.serve(slot, call).map(Reply::$call),)*
                }
            }

            /// The call's name, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$call(_) => stringify!($call),)*
                }
            }
        }

        $(
            impl From<$call> for Request {
                fn from(call: $call) -> Self {
                    Self::$call(call)
                }
            }

            impl Call for $call {
                type Reply = $reply;

                fn reply(answer: Reply) -> Option<$reply> {
                    if let Reply::$call(reply) = answer { Some(reply) } else { None }
                }
            }
        )*
    };
}

calls! {
    OpenSession => SessionOpened,
    Listen => SessionOpened,
    CloseSession => SessionClosed,
    AdmitViewers => ViewersAdmitted,
    LoadModel => ModelSummary,
    RestoreModel => Restored,
    SaveModel => Saved,
    AdoptState => Applied,
    ModifyModel => ModelModified,
    ReplaceModel => Replaced,
    ListModels => Models,
    DescribeModel => ModelDescription,
    UnloadModel => Unloaded,
    Step => Stepped,
    Run => RunStatus,
    Pause => RunStatus,
    Reset => Applied,
    GetState => State,
    SetState => Applied,
    ReadJoints => Joints,
    ReadActuators => Actuators,
    DescribeActuators => ActuatorInfos,
    ApplyForce => ForceApplied,
    Rollout => RolledOut,
    Sweep => Swept,
    Randomize => ModelModified,
    GetBodies => BodyStates,
    GetSensors => SensorData,
    GetContacts => Contacts,
    GetEnergy => Energy,
    GetForces => Forces,
    ComputeJacobian => Jacobian,
    Linearize => Linearization,
    CastRays => RayHits,
    MeasureDistance => Distance,
    MapScene => SceneMap,
    SolveIk => IkSolution,
    PlanTrajectory => TrajectoryPlan,
    ExecuteTrajectory => Executed,
    Diagnose => Diagnosis,
    PlanRecording => Layout,
    StartRecording => RecordingStarted,
    AttachRecording => RecordingAttached,
    StopRecording => RecordingStopped,
    TimePhases => PhaseTimes,
    MeasureMemory => ModelMemories,
}
